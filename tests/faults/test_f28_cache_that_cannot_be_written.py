"""F28: a calibration cache that cannot be written ends the stage; nothing unfinished is left."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from fpenet.execution import run_stage
from fpenet.params import Params
from fpenet.provenance.manifest import MANIFEST, Manifest, seal


def test_the_stage_ends_with_the_file_named_and_leaves_no_folder(
    stages: SimpleNamespace, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {}
    for name in ("crop", "export"):
        inputs[name] = tmp_path / name
        shutil.copytree(getattr(stages, name), inputs[name])
        seal(inputs[name], Manifest(name, "", {}, {}, "", {}, {}, {}))
    written = Path.write_text

    def full_disk(path: Path, *text: str, **how: str) -> int:
        if path.suffix == ".cache":
            raise OSError(28, "No space left on device", str(path))
        return written(path, *text, **how)

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match=r"No space left on device: .*\.cache"):
        run_stage("calibrate", tmp_path / "calibrate", inputs, params)
    assert not (tmp_path / "calibrate").exists()
    left = [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert sorted(left) == ["crop", "export"]
    assert not (tmp_path / "calibrate" / MANIFEST).exists()
