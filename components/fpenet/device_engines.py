"""The engines that only their own device can build: their build folders below ``work/``.

A worker on the device runs the stage build for one engine and signs its folder; a release merges
the finished folders into its own build.
"""

from collections.abc import Mapping
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.deploy.engines.targets import TARGETS, Precision
from fpenet.execution import cached_folder
from fpenet.params import Params, TargetName
from fpenet.provenance.manifest import MANIFEST, verify
from fpenet.provenance.signing import read_trusted, signature_of
from fpenet.stages import STAGES


def engines_of_devices(params: Params) -> list[tuple[TargetName, Precision]]:
    """The engines that can be built on their own device only."""
    return [
        (target, precision)
        for target in params.build.targets
        if TARGETS[target].built_on_device
        for precision in TARGETS[target].precisions
        if precision in params.build.precisions
    ]


def only_engine(params: Params, target: TargetName, precision: Precision) -> Params:
    """The params for the build of one engine."""
    one_engine = {"targets": (target,), "precisions": (precision,)}
    return params.model_copy(update={"build": params.build.model_copy(update=one_engine)})


def engine_folder(
    work: Path,
    target: TargetName,
    precision: Precision,
    folders: Mapping[str, str | Path],
    params: Params,
) -> Path:
    """The build folder of one engine; its name is also the key of the engine's run.

    Args:
        folders: stage -> its finished folder.
    """
    inputs = {stage: Path(folders[stage]) for stage in STAGES["build"].inputs}
    return cached_folder(
        work / "engines" / target, "build", inputs, only_engine(params, target, precision)
    )


def built_engines(work: Path, folders: Mapping[str, str | Path], params: Params) -> dict[str, Path]:
    """The finished engines of devices: ``target/precision`` -> folder, signed by a trusted key."""
    built: dict[str, Path] = {}
    for target, precision in engines_of_devices(params):
        folder = engine_folder(work, target, precision, folders, params)
        if signature_of(folder / MANIFEST).exists():
            try:
                verify(folder, read_trusted(params.trust.public_keys))
            except InputError:
                continue  # the release refuses it too, and says why
            built[f"{target}/{precision}"] = folder
    return built
