"""Write dvc.yaml and prefect.yaml from the rows of STAGES and TARGETS: ``make project-files``.

Input: STAGES, TARGETS, the presets, and whether params.yaml names a folder of images. Output: the
two files. A test compares the committed files with this output: after adding a stage or a target,
run this command.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fpenet.core.yaml_tree import read_yaml
from fpenet.deploy.engines.targets import TARGETS
from fpenet.stages import STAGES, Stage

_DVC_HEAD = """\
# The stages of fpenet/stages.py for `dvc repro`; each stage writes into dvc/<stage>.
# Written by `make project-files`.
#
# Every stage depends on all of components/, and its output persists: DVC runs the command of a
# stage after any change, and the command returns at once if the key of the stage is the same.
# Because the output persists, an interrupted training continues. The last stage here is `report`:
# `register` changes a server, so only the flow runs it.
#
# A key of params.yaml that a preset changes is tracked in the file of the preset. A folder that
# `data.images` names is a dependency once `make project-files` has run again.
vars:
  - fpenet: PATH=".venv/bin:$PATH" fpenet   # also if the environment is not activated

stages:
"""
_PREFECT_HEAD = """\
# The deployments; `make up` registers them (flows/deploy.py creates the work pools first).
# Written by `make project-files`.
#
# The process worker runs a flow in its own working directory, which is the folder of the project.
name: fpenet
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: .

definitions:
  engine: &engine
    entrypoint: flows/build_engine.py:build_engine
    description: Build and judge the engines of one GPU target, on its own device.

deployments:
  - name: train-and-release
    entrypoint: flows/train_and_release.py:train_and_release
    description: Labelled faces in; KPI-gated, parity-checked engines and a registered version out.
    work_pool: {name: fpenet, job_variables: {working_dir: .}}

  # The flow of the promotion watcher (flows/webhook.py), to run by hand or from an automation.
  - name: answer
    entrypoint: flows/promotion.py:promotion
    description: Decide a promotion request; move the release pointer, or reset the alias.
    work_pool: {name: fpenet, job_variables: {working_dir: .}}
    concurrency_limit: 1

  # One per target whose engines only its own device can build; a worker of its pool runs it.
"""
_ENGINE = (
    "  - {{<<: *engine, name: {0}, work_pool: {{name: {1}, job_variables: {{working_dir: .}}}}}}\n"
)


def dvc_yaml(preset_sections: Iterable[str], images: bool = False) -> str:
    """The text of dvc.yaml.

    Args:
        preset_sections: sections of params.yaml that presets change.
        images: whether ``data.images`` names a folder.
    """
    changed = set(preset_sections)
    faces = ['"${data.labels}"', *(['"${data.images}"'] if images else [])]
    rows = (stage for stage in STAGES.values() if stage.sealed and stage.cached)
    return _DVC_HEAD + "".join(
        _dvc_stage(stage, faces, bool(changed & {*stage.sections})) for stage in rows
    )


def _dvc_stage(stage: Stage, faces: Sequence[str], reads_preset: bool) -> str:
    read = faces if stage.reads_labels else []
    deps = ["components", *read, *(f"dvc/{name}" for name in stage.inputs)]
    params = [*stage.sections, *(["presets/${preset}.yaml: null"] if reads_preset else [])]
    return (
        f"  {stage.name}:\n"
        f"    cmd: ${{fpenet}} {stage.name}\n"
        f"    deps:\n{''.join(f'      - {each}{chr(10)}' for each in deps)}"
        f"    params:\n{''.join(f'      - {each}{chr(10)}' for each in params)}"
        f"    outs: [{{dvc/{stage.name}: {{persist: true}}}}]\n"
    )


def prefect_yaml() -> str:
    """The text of prefect.yaml."""
    devices = {name: row.pool for name, row in TARGETS.items() if row.built_on_device}
    return _PREFECT_HEAD + "".join(_ENGINE.format(name, pool) for name, pool in devices.items())


def sections_of_presets(folder: Path) -> list[str]:
    """The sections of params.yaml that any preset in ``folder`` changes, sorted."""
    presets = sorted(folder.glob("*.yaml"))
    trees = map(read_yaml, presets)
    return sorted({section for tree in trees for section in tree})


def main() -> None:
    """Write both files into the working directory."""
    images = read_yaml(Path("params.yaml"))["data"]["images"]
    dvc = dvc_yaml(sections_of_presets(Path("presets")), images is not None)
    Path("dvc.yaml").write_text(dvc, encoding="utf-8")
    Path("prefect.yaml").write_text(prefect_yaml(), encoding="utf-8")


if __name__ == "__main__":
    main()
