"""F12 where a stage writes: calibration caches, ONNX files, the manifest, timing caches."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from fpenet.cli.main import main
from fpenet.deploy.engines import tensorrt_rtx_engine
from fpenet.deploy.engines.build import build_engines
from fpenet.deploy.engines.builder import read_timings
from fpenet.deploy.engines.targets import TARGETS, Built, Network
from fpenet.params import Params
from fpenet.provenance.digest import digest_file, files_of
from fpenet.provenance.manifest import MANIFEST, verify
from tests.faults.conftest import PAGE, Mount, fill, left_in, space_of, stage_words

NO_SPACE = "[Errno 28] No space left on device: "


def digests_of(folder: Path) -> dict[str, str]:
    """Path below the folder -> SHA-256, without the manifest."""
    files = {path.relative_to(folder).as_posix(): digest_file(path) for path in files_of(folder)}
    return {name: digest for name, digest in files.items() if name != MANIFEST}


@pytest.mark.parametrize(
    ("stage", "cut"),
    [
        ("calibrate", "calibration/*.cache"),
        ("calibrate", MANIFEST),
        ("export", "opset17/end_to_end.onnx"),
    ],
)
def test_f12_a_stage_on_a_full_disk_is_one_line_leaves_nothing_and_a_retry_works(
    stage: str,
    cut: str,
    stages: SimpleNamespace,
    sealed: Path,
    disk_of: Mount,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """There is room for all that is written before ``cut`` and for half of that."""
    whole: Path = getattr(stages, stage)
    written = sorted(files_of(whole), key=lambda path: path.stat().st_mtime_ns)
    first = next((n for n, path in enumerate(written) if path.match(cut)), len(written))
    half = written[first].stat().st_size // 2 if first < len(written) else 0
    disk = disk_of("size=64m")
    filler = fill(disk, space_of(*written[:first]) + half // PAGE * PAGE)

    assert main(stage_words(stage, sealed, disk / stage)) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"fpenet {stage}: {NO_SPACE}'{disk}")
    assert said.count("\n") == 1
    assert left_in(disk) == ["filler"]

    filler.unlink()
    assert main(stage_words(stage, sealed, disk / stage)) == 0
    assert left_in(disk) == [stage]
    assert digests_of(disk / stage) == digests_of(whole)
    verify(disk / stage)


def test_f12_a_full_disk_for_temporary_files_ends_the_export_in_one_line(
    sealed: Path,
    disk_of: Mount,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = disk_of("size=1m")
    fill(scratch, 16 * PAGE)
    out_dir = tmp_path / "out"
    out_dir.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    assert main(stage_words("export", sealed, out_dir / "export")) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"fpenet export: {NO_SPACE}")
    assert said.count("\n") == 1
    left = [name for name in left_in(scratch) if not name.endswith(".log")]  # of the error itself
    assert (left_in(out_dir), left) == ([], ["filler"])


@pytest.mark.tensorrt
def test_f12_a_full_disk_at_a_timing_cache_stops_the_stage_and_a_retry_works(
    stages: SimpleNamespace, params: Params, disk_of: Mount, tmp_path: Path
) -> None:
    """A target that is marked as failed would stay so: the stage's result is kept."""
    pytest.importorskip("tensorrt_rtx", reason="not run: needs the rtx extra")

    def build(timings: Path, out_dir: Path) -> object:
        (tmp_path / out_dir).mkdir()
        changes = {"targets": ("l4",), "precisions": ("fp16",), "timing_cache": timings}
        return build_engines(
            crop_dir=stages.crop,
            evaluate_dir=stages.evaluate,
            export_dir=stages.export,
            calibrate_dir=stages.calibrate,
            build=params.build.model_copy(update=changes),
            evaluate=params.evaluate,
            out_dir=tmp_path / out_dir,
        )["status"]

    timings = disk_of("size=64m") / "timings"
    assert build(timings, Path("first")) == {"built_not_judged": 1}
    (cache,) = timings.iterdir()
    before, known = cache.read_bytes(), read_timings(cache)
    assert known is not None
    filler = fill(timings.parent, len(before) // 2 // PAGE * PAGE)
    with pytest.raises(OSError, match=r"No space left on device: '.*sm89-l4\.cache'"):
        build(timings, Path("full"))
    assert [path.name for path in timings.iterdir()] == [cache.name]
    assert cache.read_bytes() == before
    assert not (tmp_path / "full/engines.json").exists()
    filler.unlink()
    assert build(timings, Path("again")) == {"built_not_judged": 1}
    assert read_timings(cache) is not None


@pytest.mark.tensorrt
def test_f12_a_full_disk_for_a_builder_s_files_is_no_fault_of_the_network(
    stages: SimpleNamespace,
    params: Params,
    disk_of: Mount,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="not run: needs the rtx extra")
    scratch = disk_of("size=1m")
    filler = fill(scratch, 16 * PAGE)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    network = Network(stages.export / "opset17" / "fp16.onnx")
    build = params.build.model_copy(update={"timing_cache": tmp_path / "timings"})
    with pytest.raises(OSError, match="No space left on device"):
        tensorrt_rtx_engine.build(network, TARGETS["l4"], "fp16", build)
    assert left_in(scratch) == ["filler"]
    assert not (tmp_path / "timings").exists()
    filler.unlink()
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert isinstance(tensorrt_rtx_engine.build(network, TARGETS["l4"], "fp16", build), Built)
