"""Case 60: a set without attributes: no slices, and every stage after the training still ends."""

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from fpenet.data.crops.store import open_crops
from fpenet.deploy.judge.judge_release import judge_release
from fpenet.kpi.evaluate import judge
from fpenet.kpi.predictions import load_predictions
from fpenet.kpi.report import write_kpi
from fpenet.params import Params
from fpenet.provenance.manifest import read_manifest, seal
from fpenet.provenance.signing import SigningKey
from fpenet.release.evidence import read_evidence, refusals
from fpenet.release.registry.version_description import describe_version
from fpenet.release.report.report import report_release


def test_a_set_without_attributes_is_judged_and_reported(
    finished: dict[str, Path], params: Params, signing_key: SigningKey, tmp_path: Path
) -> None:
    folders = dict(finished)
    for name in ("crop", "evaluate", "gate"):
        folders[name] = tmp_path / name
    shutil.copytree(finished["crop"], folders["crop"])
    faces = folders["crop"] / "faces.parquet"
    table = pq.read_table(faces)
    attributes = [name for name in table.column_names if name.startswith("attr_")]
    assert attributes
    pq.write_table(table.drop_columns(attributes), faces)

    shutil.copytree(finished["evaluate"], folders["evaluate"])
    predictions = load_predictions(finished["evaluate"] / "predictions.npz")
    few = params.evaluate.slices.model_copy(update={"min_faces": 20, "min_subjects": 5})
    evaluate = params.evaluate.model_copy(update={"slices": few})
    kpi = judge(open_crops(folders["crop"]), predictions, evaluate, confidence_px=4.0)
    assert [row for row in kpi.slices if row.too_few is None] == []
    write_kpi(kpi, folders["evaluate"])
    folders["gate"].mkdir()
    judge_release(
        crop_dir=folders["crop"],
        evaluate_dir=folders["evaluate"],
        build_dir=folders["build"],
        gate=params.gate.model_copy(update={"champion": finished["bundle"].as_posix()}),
        evaluate=evaluate,
        trusted=[signing_key.public],
        out_dir=folders["gate"],
    )
    for name in ("crop", "evaluate", "gate"):
        manifest = read_manifest(finished[name])
        sections = {**manifest.params, "evaluate": evaluate.model_dump(mode="json")}
        (folders[name] / "manifest.json").unlink(missing_ok=True)
        seal(folders[name], replace(manifest, params=sections))

    out_dir = tmp_path / "report"
    out_dir.mkdir()
    report_release(inputs=folders, register=params.register_, out_dir=out_dir)
    words = "Error by slice: no attribute has two slices with at least 20 faces of 5 subjects."
    for page in ("report.html", "published/report.html"):
        text = (out_dir / page).read_text(encoding="utf-8")
        section = text.split('id="slices"')[1].split("<h2")[0]
        assert words in section
    card = (out_dir / "model_card.md").read_text(encoding="utf-8")
    assert words.replace("20", "`20`").replace(" 5 ", " `5` ") in card
    evidence = read_evidence(folders)
    description = describe_version(evidence, refusals(evidence, ["cpu"]))
    assert "## Slices that are worse than with the champion" in description
    assert words in description
