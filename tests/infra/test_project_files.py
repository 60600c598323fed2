"""dvc.yaml and prefect.yaml are what the rows of STAGES and TARGETS say."""

from pathlib import Path

import yaml

from infra.project_files import dvc_yaml, prefect_yaml, sections_of_presets

ROOT = Path(__file__).parents[2]


def test_the_committed_files_are_those_of_the_rows() -> None:
    presets = sections_of_presets(ROOT / "presets")
    assert (ROOT / "dvc.yaml").read_text() == dvc_yaml(presets), "run `make project-files`"
    assert (ROOT / "prefect.yaml").read_text() == prefect_yaml(), "run `make project-files`"


def test_a_stage_whose_section_a_preset_changes_depends_on_the_preset() -> None:
    stages = yaml.safe_load(dvc_yaml(["crop"]))["stages"]
    reading = {
        name for name, row in stages.items() if {"presets/${preset}.yaml": None} in row["params"]
    }
    assert reading == {name for name, row in stages.items() if "crop" in row["params"]}
    assert "crop" in reading
    assert "train" not in reading
    assert stages["crop"]["deps"] == ["components", "dvc/validate", "dvc/split"]


def test_a_folder_of_images_is_a_dependency_of_the_stage_that_reads_the_labels() -> None:
    stages = yaml.safe_load(dvc_yaml([], images=True))["stages"]
    assert stages["validate"]["deps"] == ["components", "${data.labels}", "${data.images}"]
    assert stages["split"]["deps"] == ["components", "dvc/validate"]
