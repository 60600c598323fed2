"""Write dvc.yaml and prefect.yaml from the rows of STAGES and TARGETS: ``make project-files``.

Input: STAGES, TARGETS and the presets. Output: the two files, whole. A test compares what is
committed with what this writes, so a new stage or target is one row and one run of this command.
"""

from collections.abc import Iterable
from pathlib import Path

import yaml

from fpenet.deploy.engines.targets import TARGETS
from fpenet.stages import STAGES, Stage

_DVC_HEAD = """\
# `dvc repro`: the stages of fpenet/stages.py, each by its command, into dvc/<stage>.
# Written by `make project-files`.
#
# Every output persists and every stage depends on all of components/: DVC decides when to call a
# stage, and the stage, which knows its own code, compares its key and returns at once when nothing
# changed. An interrupted training continues for the same reason. The report is the end here:
# `register` acts on a server, so it belongs to the flow.
#
# A key that a preset lays over params.yaml is tracked in the preset's own file.
vars:
  - fpenet: PATH=".venv/bin:$PATH" fpenet   # found though the environment is not activated

stages:
"""
_PREFECT_HEAD = """\
# The deployments; `make up` registers them (flows/deploy.py makes the work pools first).
# Written by `make project-files`.
#
# The process worker runs a flow in the folder where the worker itself was started: the project's.
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

  # What the promotion watcher (flows/webhook.py) runs; this runs it by hand, or from an automation.
  - name: answer
    entrypoint: flows/promotion.py:promotion
    description: Decide on the alias deployable in MLflow; move the release pointer or put it back.
    work_pool: {name: fpenet, job_variables: {working_dir: .}}
    concurrency_limit: 1

  # One a target that only its own device can build for: the worker of that pool runs it.
"""
_ENGINE = (
    "  - {{<<: *engine, name: {0}, work_pool: {{name: {1}, job_variables: {{working_dir: .}}}}}}\n"
)


def dvc_yaml(preset_sections: Iterable[str]) -> str:
    """The text of dvc.yaml.

    Args:
        preset_sections: sections of params.yaml that presets change.
    """
    changed = set(preset_sections)
    rows = (stage for stage in STAGES.values() if stage.sealed and stage.cached)
    return _DVC_HEAD + "".join(
        _dvc_stage(stage, bool(changed & {*stage.sections})) for stage in rows
    )


def _dvc_stage(stage: Stage, reads_preset: bool) -> str:
    labels = ['"${data.labels}"'] if stage.reads_labels else []
    deps = ["components", *labels, *(f"dvc/{name}" for name in stage.inputs)]
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
    trees = (yaml.safe_load(path.read_text(encoding="utf-8")) or {} for path in presets)
    return sorted({section for tree in trees for section in tree})


def main() -> None:
    """Write both files into the working directory."""
    dvc = dvc_yaml(sections_of_presets(Path("presets")))
    Path("dvc.yaml").write_text(dvc, encoding="utf-8")
    Path("prefect.yaml").write_text(prefect_yaml(), encoding="utf-8")


if __name__ == "__main__":
    main()
