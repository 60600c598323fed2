"""Stage gate: does the release pass, and is it no worse than what is deployed?

Input: crop, evaluate and build folders, and the champion's bundle. Does: runs the champion's
engines on the candidate's own faces and compares engine by engine (``kpi.compare``); then
``kpi.gate``. Output: ``gate.json``, and ``champion/<target>.<precision>.kpi.json`` and
``.predictions.npz``.

The paths. No champion (``gate.champion`` null): a first release, compared with none. Another data
set: nothing special, for the champion is judged again on these faces. Another scheme: compared on
the keypoints that both have, where they are numbered alike. A champion that is missing, damaged,
of other keypoints, or that does not run here: not comparable, and the gate fails.
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
from fpenet.kpi.evaluate import judge as judge_kpi
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
    """Write ``gate.json``; returns the verdict without the single checks.

    Args:
        trusted: whose signature the champion must bear.
    """
    store = open_crops(crop_dir)
    kpi = KpiReport.read(evaluate_dir / "kpi.json")
    engines = executed_engines(build_dir)
    candidates = {
        engine.name: load_predictions(build_dir / path) for engine, path in engines if path
    }
    champion, differences = _compare_all(store, candidates, gate, evaluate, trusted, out_dir)
    judged = [
        replace(engine, differences=differences.get(engine.name, ())) for engine, _ in engines
    ]
    decision = decide(kpi, judged, champion, gate)
    decision.write(out_dir / GATE)
    summary: dict[str, Any] = encode(decision)
    return {key: value for key, value in summary.items() if key not in ("checks", "comparisons")}


def executed_engines(build_dir: Path) -> list[tuple[JudgedEngine, str | None]]:
    """Every engine that was executed, and the file of its predictions below the build folder."""
    parity = ParityTable.read(build_dir / PARITY)
    found = []
    for row in EngineTable.read(build_dir / ENGINES).engines:
        if not row.ready:
            continue
        name = str(row.id)
        check = parity.check(name)
        report = KpiReport.read(build_dir / row.kpi) if row.kpi else None
        engine = JudgedEngine(
            name,
            report,
            f"build/{row.kpi or ENGINES}",
            check.mean_px if check else None,
            check.budget_px if check else None,
        )
        found.append((engine, row.predictions))
    return found


def _compare_all(
    store: CropStore,
    candidates: Mapping[str, Predictions],
    gate: GateParams,
    evaluate: EvaluateParams,
    trusted: Trusted,
    out_dir: Path,
) -> tuple[ChampionResult, dict[str, list[Difference]]]:
    """Each candidate's engine beside the champion's."""
    if gate.champion is None:
        return ChampionResult(
            ChampionState.FIRST_RELEASE,
            "compared with none: gate.champion is null, or auto and the release pointer names none",
        ), {}
    folder = Path(gate.champion)
    faces = digest_faces(store, judged_rows(store))
    try:
        opened, absent = open_bundle(folder, trusted)
        if not opened:
            raise InputError(f"none of its engines runs here: {'; '.join(absent)}")
        shared = shared_keypoints(store, opened[0].num_keypoints)
        found: dict[str, Predictions] = {}
        differences, engines = {}, {}
        for name, candidate in candidates.items():
            if candidate.faces != faces:
                raise InputError(f"build: {name} was judged on other faces than those of crop")
            rival = _rival(name, opened)
            if rival.name not in found:
                found[rival.name] = predict_model(rival, shared, evaluate.batch_size)
            engines[name] = _write(rival, found[rival.name], shared, evaluate, out_dir)
            own = only_shared(candidate, shared)
            differences[name] = compare(shared, found[rival.name], own, evaluate, gate.comparison)
    except InputError as error:
        return ChampionResult(ChampionState.NOT_COMPARABLE, str(error), folder.name), {}
    why = "judged again on these faces, engine by engine"
    if shared.num_keypoints != store.num_keypoints:
        why += f"; on the first {shared.num_keypoints} keypoints, which both have"
    return ChampionResult(ChampionState.COMPARED, why, folder.name, engines), differences


def _rival(name: str, opened: Sequence[CandidateModel]) -> CandidateModel:
    """The champion's engine of the same target and precision; else its most precise one here."""
    order = ("fp32", "fp16", "int8")
    return min(
        opened,
        key=lambda one: (
            one.name != name,
            order.index(EngineId.parse(one.name).precision),
            one.name,
        ),
    )


def _write(
    rival: CandidateModel,
    rival_predictions: Predictions,
    store: CropStore,
    evaluate: EvaluateParams,
    out_dir: Path,
) -> ChampionEngine:
    """Keep the champion's report and predictions; returns where."""
    stem = out_dir / "champion" / rival.name.replace("/", ".")
    kpi, predictions = (Path(f"{stem}.{kind}") for kind in ("kpi.json", "predictions.npz"))
    if not kpi.exists():
        kpi.parent.mkdir(exist_ok=True)
        judge_kpi(store, rival_predictions, evaluate).write(kpi)
        rival_predictions.save(predictions)
    return ChampionEngine(
        rival.name,
        kpi.relative_to(out_dir).as_posix(),
        predictions.relative_to(out_dir).as_posix(),
    )
