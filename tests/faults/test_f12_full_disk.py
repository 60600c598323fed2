"""A disk that is full, over its quota or read-only: one line, and a retry goes on."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fpenet.cli.main import main
from fpenet.core.progress import EpochEnd, observed_epochs
from fpenet.model import train as train_module
from tests.dots import losses

MEGABYTE = 1 << 20
Command = Callable[..., list[str]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system may be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def whole(tmp_path: Path, train_command: Command) -> list[float]:
    """The losses of the training that nothing happened to."""
    assert main(train_command(tmp_path / "whole")) == 0
    return losses(tmp_path / "whole" / "train")


def left_in(root: Path) -> tuple[list[str], list[str]]:
    """Checkpoints, and whatever else a training left below ``root``."""
    names = sorted(path.name for path in root.glob(".train*.partial/*"))
    saved = [name for name in names if name.startswith("checkpoint.0")]
    return saved, [name for name in names if name not in saved]


def test_f12_a_full_disk_at_a_checkpoint_is_one_line_and_a_retry_goes_on(
    small_disk: Path, whole: list[float], train_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    words = train_command(small_disk)
    capsys.readouterr()

    def fill(end: EpochEnd) -> None:
        """After the second epoch nothing is left but half of what a checkpoint needs."""
        if len(end.curve) == 2:
            (saved,) = small_disk.glob(".train*.partial/checkpoint.0*")
            space = os.statvfs(small_disk)
            rest = space.f_bavail * space.f_frsize - saved.stat().st_size // 2
            (small_disk / "filler").write_bytes(bytes(rest))

    with observed_epochs(fill):
        assert main(words) == 1
    said = capsys.readouterr().err
    assert "fpenet train: [Errno 28] No space left on device: " in said
    assert "checkpoint.000002." in said
    assert said.count("\n") == 1
    saved, others = left_in(small_disk)
    assert len(saved) == 1
    assert others == []
    assert not (small_disk / "train").exists()
    (small_disk / "filler").unlink()
    assert main(words) == 0
    assert losses(small_disk / "train") == whole


def test_f12_a_folder_that_may_not_be_written_is_one_line_before_the_training(
    small_disk: Path, train_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    words = train_command(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("fpenet train: [Errno 30] Read-only file system: ")
    assert str(small_disk) in said


@pytest.mark.parametrize("name", ["checkpoint.000001", "model.safetensors"])
def test_f12_a_file_that_may_grow_no_further_leaves_no_half_of_it(
    name: str,
    tmp_path: Path,
    whole: list[float],
    train_command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel's limit on a file's size stands in for a quota; it needs no rights."""
    words = train_command(tmp_path / "root")
    capsys.readouterr()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    real = train_module._finish

    def limited(*arguments: object) -> object:
        resource.setrlimit(resource.RLIMIT_FSIZE, (MEGABYTE // 64, hard))
        return real(*arguments)  # type: ignore[arg-type]

    if name.startswith("model"):
        monkeypatch.setattr(train_module, "_finish", limited)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (MEGABYTE // 64, hard))
    try:
        assert main(words) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        monkeypatch.undo()
    said = capsys.readouterr().err
    assert "fpenet train: [Errno 27] File too large: " in said
    assert name in said
    assert left_in(tmp_path / "root")[1] == []
    assert main(words) == 0
    assert losses(tmp_path / "root/train") == whole
