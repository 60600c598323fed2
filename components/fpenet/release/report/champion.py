"""The champion of a release: its KPI report and its points on the same faces."""

from dataclasses import dataclass

from fpenet.core.engine_id import EngineId
from fpenet.kpi.predictions import Predictions, load_predictions
from fpenet.kpi.report import KpiReport
from fpenet.release.evidence import Evidence

_MOST_PRECISE_FIRST = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class ChampionSummary:
    """The champion that the release was compared with.

    Attributes:
        why: the result of the comparison, or the reason why there is none.
        engine_id: the champion's engine that the page shows, ``target/precision``.
        kpi: KPI report of that engine; None where there is no champion.
        predictions: of that engine on the judged faces.
        release_predictions: of the release's engine that it was compared with.
    """

    name: str
    why: str
    engine_id: str = ""
    kpi: KpiReport | None = None
    predictions: Predictions | None = None
    release_predictions: Predictions | None = None


def compared_engine(evidence: Evidence) -> str | None:
    """The most precise engine of the release that has a comparison; None without a champion."""
    engines = evidence.verdict.champion.engines
    if not engines:
        return None
    return min(engines, key=lambda name: _MOST_PRECISE_FIRST.index(EngineId.parse(name).precision))


def champion_kpi(evidence: Evidence) -> KpiReport | None:
    """The KPI report of the champion's engine; None without a champion."""
    engine = compared_engine(evidence)
    if engine is None:
        return None
    file = evidence.verdict.champion.engines[engine].kpi
    return KpiReport.read(evidence.folders["gate"] / file)


def read_champion(evidence: Evidence) -> ChampionSummary:
    """The champion, compared by the most precise of our engines that has a comparison."""
    champion = evidence.verdict.champion
    name, engine = champion.name or "", compared_engine(evidence)
    if engine is None:
        return ChampionSummary(name, champion.why)
    theirs = champion.engines[engine]
    ours = next((row.predictions for row in evidence.engines if str(row.id) == engine), None)
    return ChampionSummary(
        name,
        champion.why,
        theirs.engine_id,
        champion_kpi(evidence),
        load_predictions(evidence.folders["gate"] / theirs.predictions),
        load_predictions(evidence.folders["build"] / ours) if ours else None,
    )
