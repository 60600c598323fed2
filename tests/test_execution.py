"""run_stage: a folder that exists is complete, what has not changed is not run again."""

import dataclasses
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fpenet import execution, stages
from fpenet.execution import cached_folder, run_stage
from fpenet.params import Params
from fpenet.stages import STAGES, Stage

CALLS: list[str] = []
HERE = __name__


def source(*, split: Any, out_dir: Path) -> dict[str, Any]:
    """Writes its seed; fails where the fraction asks it to."""
    CALLS.append("source")
    (out_dir / "half").write_text("done")
    if split.val_fraction == 0.5:
        raise ValueError("split.val_fraction is 0.5; it may not be")
    (out_dir / "seed").write_text(str(split.seed))
    return {"seed": split.seed}


def sink(*, source_dir: Path, out_dir: Path) -> dict[str, Any]:
    """Counts on, so that two runs differ."""
    CALLS.append("sink")
    (out_dir / "copy").write_text((source_dir / "seed").read_text())
    return {}


@pytest.fixture(autouse=True)
def two_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only ``source`` and ``sink``, whose code is this file."""
    CALLS.clear()
    rows = {
        name: Stage(name, f"{HERE}:{name}", inputs, sections, makes="Write.", chapter="Data")
        for name, inputs, sections in (("source", (), ("split",)), ("sink", ("source",), ()))
    }
    monkeypatch.setattr(stages, "STAGES", rows)
    monkeypatch.setattr(execution, "STAGES", rows)
    monkeypatch.setattr(execution, "import_module", lambda _name: _ThisModule)
    monkeypatch.setattr(execution, "digest_code", lambda _name: "code")


class _ThisModule:
    source = staticmethod(source)
    sink = staticmethod(sink)


def files_below(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


def test_a_finished_stage_is_sealed_and_not_run_again(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    out = tmp_path / "source"
    first = run_stage("source", out, {}, params_with())
    again = run_stage("source", out, {}, params_with())
    assert CALLS == ["source"]
    assert first == again
    assert first.summary == {"seed": 35}
    assert set(first.files) == {"half", "seed"}
    assert files_below(tmp_path) == ["half", "manifest.json", "seed"]


@pytest.mark.parametrize("change", ["params", "code", "tool"])
def test_a_changed_key_code_or_tool_runs_it_again(
    change: str,
    tmp_path: Path,
    params_with: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "source"
    before = run_stage("source", out, {}, params_with())
    params = params_with({"split.seed": 36} if change == "params" else None)
    if change == "code":
        monkeypatch.setattr(execution, "digest_code", lambda _name: "other code")
    if change == "tool":
        monkeypatch.setattr(execution, "tool_versions", lambda _tools: {"numpy": "9"})
    after = run_stage("source", out, {}, params)
    assert CALLS == ["source", "source"]
    assert after.key != before.key


def test_a_key_of_another_section_changes_nothing(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    run_stage("source", tmp_path / "source", {}, params_with())
    run_stage("source", tmp_path / "source", {}, params_with({"train.epochs": 3}))
    assert CALLS == ["source"]


def test_the_same_content_from_another_run_is_the_same_input(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    for number, fraction in enumerate((0.1, 0.2)):  # another key, the same files
        inputs = {"source": tmp_path / f"source{number}"}
        params = params_with({"split.val_fraction": fraction})
        run_stage("source", inputs["source"], {}, params)
        run_stage("sink", tmp_path / "sink", inputs, params)
    assert CALLS == ["source", "sink", "source"]
    folders = [
        cached_folder(tmp_path, "sink", {"source": tmp_path / f"source{n}"}, params_with())
        for n in (0, 1)
    ]
    assert folders[0] == folders[1]
    assert folders[0].parent == tmp_path / "sink"


def test_a_flipped_byte_of_an_input_is_found_before_the_stage_reads_it(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    run_stage("source", tmp_path / "source", {}, params_with())
    (tmp_path / "source/seed").write_text("36")
    with pytest.raises(ValueError, match=r"source/seed: SHA-256 is \w{16}..., sealed as"):
        run_stage("sink", tmp_path / "sink", {"source": tmp_path / "source"}, params_with())
    assert CALLS == ["source"]
    assert not (tmp_path / "sink").exists()


def test_a_stage_that_fails_leaves_the_old_result_and_nothing_new(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    out = tmp_path / "source"
    run_stage("source", out, {}, params_with())
    with pytest.raises(ValueError, match=r"val_fraction is 0\.5"):
        run_stage("source", out, {}, params_with({"split.val_fraction": 0.5}))
    assert (out / "seed").read_text() == "35"
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == ["source"]


def test_a_resumable_stage_keeps_its_half_done_folder_for_the_same_key(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    row = dataclasses.replace(stages.STAGES["source"], resumable=True)
    stages.STAGES["source"] = row
    failing = params_with({"split.val_fraction": 0.5})
    with pytest.raises(ValueError, match="val_fraction"):
        run_stage("source", tmp_path / "source", {}, failing)
    (partial,) = tmp_path.glob(".source.*.partial")
    assert files_below(partial) == ["half"]
    run_stage("source", tmp_path / "source", {}, params_with())
    assert partial.exists()  # another key's
    assert files_below(tmp_path / "source") == ["half", "manifest.json", "seed"]


def test_two_runs_at_once_run_it_once(
    tmp_path: Path, params_with: Callable[..., Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    began = threading.Event()

    def slow(*, split: Any, out_dir: Path) -> dict[str, Any]:
        began.set()
        time.sleep(0.3)  # time for the second to come to the lock
        return source(split=split, out_dir=out_dir)

    monkeypatch.setattr(_ThisModule, "source", staticmethod(slow))

    def run(first: bool) -> str:
        assert first or began.wait(timeout=30)
        return run_stage("source", tmp_path / "source", {}, params_with()).key

    with ThreadPoolExecutor(2) as threads:  # flock holds one open file from another's, not threads
        one, other = threads.map(run, (True, False))
    assert CALLS == ["source"]
    assert one == other


def test_a_data_set_that_exists_is_not_overwritten(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    stages.STAGES["source"] = dataclasses.replace(stages.STAGES["source"], sealed=False)
    run_stage("source", tmp_path / "data", {}, params_with())
    assert files_below(tmp_path) == ["half", "seed"]  # no manifest among the data
    with pytest.raises(ValueError, match="not empty; remove it, or choose another folder"):
        run_stage("source", tmp_path / "data", {}, params_with())


def test_the_rows_name_stages_before_them_and_sections_of_params(
    params_with: Callable[..., Params],
) -> None:
    earlier: set[str] = set()
    for name, row in STAGES.items():
        assert row.name == name
        assert set(row.inputs) <= earlier
        for section in row.sections:
            params_with().section(section)
        earlier.add(name)
