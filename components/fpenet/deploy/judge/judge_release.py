"""Stage gate: decides whether the release passes and is no worse than the deployed model.

Input: crop, evaluate and build folders, and the champion's bundle. Does: runs the champion's
engines on the judged faces of the candidate, compares engine by engine (``kpi.compare``), and
decides by ``kpi.gate``. Output: ``gate.json``, and ``champion/<target>.<precision>.kpi.json`` and
``.predictions.npz``.

The cases. No champion (``gate.champion`` null): first release, no comparison. Another data set: the
champion is judged again on these faces. Another scheme with the same numbering: the two are
compared on their common keypoints. A champion that is missing or damaged, that has another
numbering, or that does not run here: not comparable, and the gate fails.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fpenet.core.engine_id import EngineId
from fpenet.core.errors import InputError
from fpenet.core.records import encode
from fpenet.data.crops.store import CropStore, open_crops
from fpenet.deploy.engines.engine_table import ENGINES, EngineTable
from fpenet.deploy.judge.candidate_model import (
    CandidateModel,
    only_shared,
    open_bundle,
    predict_model,
    shared_keypoints,
)
from fpenet.deploy.judge.parity import PARITY, ParityTable
from fpenet.kpi.compare import Difference, compare
from fpenet.kpi.evaluate import judge
from fpenet.kpi.gate import (
    GATE,
    ChampionEngine,
    ChampionResult,
    ChampionState,
    JudgedEngine,
    decide,
)
from fpenet.kpi.predictions import Predictions, digest_faces, judged_rows, load_predictions
from fpenet.kpi.report import KpiReport
from fpenet.params import EvaluateParams, GateParams
from fpenet.provenance.checksums import Trusted


def judge_release(
    *,
    crop_dir: Path,
    evaluate_dir: Path,
    build_dir: Path,
    gate: GateParams,
    evaluate: EvaluateParams,
    trusted: Trusted,
    out_dir: Path,
) -> dict[str, Any]:
    """Write ``gate.json``; returns the verdict without the list of checks.

    Args:
        trusted: keys of which one must have signed the champion.
    """
    store = open_crops(crop_dir)
    kpi = KpiReport.read(evaluate_dir / "kpi.json")
    executed = executed_engines(build_dir)
    candidates = {
        judged.engine_id: load_predictions(build_dir / path) for judged, path in executed if path
    }
    champion, differences = _compare_all(store, candidates, gate, evaluate, trusted, out_dir)
    judged_engines = [
        replace(judged, differences=differences.get(judged.engine_id, ())) for judged, _ in executed
    ]
    decision = decide(kpi, judged_engines, champion, gate)
    decision.write(out_dir / GATE)
    summary: dict[str, Any] = encode(decision)
    return {key: value for key, value in summary.items() if key not in ("checks", "comparisons")}


def executed_engines(build_dir: Path) -> list[tuple[JudgedEngine, str | None]]:
    """Every engine that was executed, and the file of its predictions below the build folder."""
    parity = ParityTable.read(build_dir / PARITY)
    judged_engines = []
    for engine in EngineTable.read(build_dir / ENGINES).engines:
        if not engine.ready:
            continue
        engine_id = str(engine.id)
        check = parity.check(engine_id)
        report = KpiReport.read(build_dir / engine.kpi) if engine.kpi else None
        judged = JudgedEngine(
            engine_id,
            report,
            f"build/{engine.kpi or ENGINES}",
            check.mean_px if check else None,
            check.budget_px if check else None,
        )
        judged_engines.append((judged, engine.predictions))
    return judged_engines


def _compare_all(
    store: CropStore,
    candidates: Mapping[str, Predictions],
    gate: GateParams,
    evaluate: EvaluateParams,
    trusted: Trusted,
    out_dir: Path,
) -> tuple[ChampionResult, dict[str, list[Difference]]]:
    """The result of the comparison, and the differences of each engine of the candidate.

    Args:
        candidates: engine id -> its predictions.
    """
    if gate.champion is None:
        return ChampionResult(
            ChampionState.FIRST_RELEASE,
            "no comparison: gate.champion is null, or auto and the release pointer has no version",
        ), {}
    folder = Path(gate.champion)
    faces = digest_faces(store, judged_rows(store))
    try:
        opened, absent = open_bundle(folder, trusted)
        if not opened:
            raise InputError(f"none of its engines runs here: {'; '.join(absent)}")
        shared = shared_keypoints(store, opened[0].num_keypoints)
        predictions: dict[str, Predictions] = {}
        differences, champion_engines = {}, {}
        for engine_id, candidate in candidates.items():
            if candidate.faces != faces:
                raise InputError(f"build: {engine_id} was judged on other faces than those of crop")
            rival = _champion_engine(engine_id, opened)
            if rival.name not in predictions:
                predictions[rival.name] = predict_model(rival, shared, evaluate.batch_size)
            old, new = predictions[rival.name], only_shared(candidate, shared)
            champion_engines[engine_id] = _write(rival, old, shared, evaluate, out_dir)
            differences[engine_id] = compare(shared, old, new, evaluate, gate.comparison)
    except InputError as error:
        return ChampionResult(ChampionState.NOT_COMPARABLE, str(error), folder.name), {}
    why = "judged again on these faces, engine by engine"
    if shared.num_keypoints != store.num_keypoints:
        why += f"; on the first {shared.num_keypoints} keypoints, which both schemes have"
    return ChampionResult(ChampionState.COMPARED, why, folder.name, champion_engines), differences


def _champion_engine(engine_id: str, opened: Sequence[CandidateModel]) -> CandidateModel:
    """The champion's engine of the same target and precision, else its most precise engine here."""
    order = ("fp32", "fp16", "int8")
    return min(
        opened,
        key=lambda row: (
            row.name != engine_id,
            order.index(EngineId.parse(row.name).precision),
            row.name,
        ),
    )


def _write(
    rival: CandidateModel,
    engine_predictions: Predictions,
    store: CropStore,
    evaluate: EvaluateParams,
    out_dir: Path,
) -> ChampionEngine:
    """Write the report and predictions of a champion's engine; returns its name and the paths."""
    stem = out_dir / "champion" / rival.name.replace("/", ".")
    kpi, predictions = (Path(f"{stem}.{kind}") for kind in ("kpi.json", "predictions.npz"))
    if not kpi.exists():
        kpi.parent.mkdir(exist_ok=True)
        judge(store, engine_predictions, evaluate).write(kpi)
        engine_predictions.save(predictions)
    return ChampionEngine(
        rival.name,
        kpi.relative_to(out_dir).as_posix(),
        predictions.relative_to(out_dir).as_posix(),
    )
