"""F28: a calibration cache that cannot be written ends the stage; nothing unfinished is left."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from fpenet.cli.main import main
from tests.faults.conftest import Mount, left_in, stage_words


def test_f28_a_disk_that_takes_no_more_files_ends_the_stage_at_the_first_cache(
    stages: SimpleNamespace,
    sealed: Path,
    disk_of: Mount,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All that is written before the caches has an entry in the file system, and no cache has."""
    later = {"ranges.json"} | {path.name for path in stages.calibrate.glob("calibration/*")}
    before = [path for path in stages.calibrate.rglob("*") if path.name not in later]
    of_stage = 3  # the disk's own folder, the stage's lock and its hidden folder
    disk = disk_of(f"size=64m,nr_inodes={of_stage + len(before)}")
    assert main(stage_words("calibrate", sealed, disk / "calibrate")) == 1
    said = capsys.readouterr().err
    no_space = r"fpenet calibrate: \[Errno 28\] No space left on device: "
    found = re.fullmatch(rf"{no_space}'(\S+)'; the traceback is in \S+\n", said)
    assert found is not None
    assert re.search(r"/calibration/trt-[\d.]+-opset17\.cache$", found[1])
    assert said.count("\n") == 1
    assert left_in(disk) == []

    subprocess.run(["mount", "-o", "remount,nr_inodes=1000", str(disk)], check=True)
    assert main(stage_words("calibrate", sealed, disk / "calibrate")) == 0
    assert left_in(disk) == ["calibrate"]


def test_f28_a_read_only_folder_is_named_before_anything_is_calibrated(
    sealed: Path, disk_of: Mount, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = disk_of("size=64m")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert main(stage_words("calibrate", sealed, disk / "calibrate")) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"fpenet calibrate: [Errno 30] Read-only file system: '{disk}/")
    assert said.count("\n") == 1
    assert left_in(disk) == []
