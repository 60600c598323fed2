"""``fpenet infer FOLDER``: one broken file is named at the end and costs nothing else."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from fpenet.cli.main import main
from synthface import FaceSpec, render_face

ROOT = Path(__file__).parents[2]


def test_the_others_are_answered_and_the_exit_status_is_not_0(
    stages: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a1.jpg", "b.jpg", "c3.jpg"):
        Image.fromarray(render_face(FaceSpec()).image).save(folder / name)
    whole = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("no image, and not named as one")
    arguments = [str(folder), "--model", str(stages.bundle / "cpu"), "--out", str(out)]
    arguments += ["--detector", "whole", "--write", "json", "--trusted", str(ROOT / ".keys")]
    assert main(["infer", *arguments]) == 2
    printed = capsys.readouterr()
    assert sorted(path.name for path in out.iterdir()) == ["a1.keypoints.json", "c3.keypoints.json"]
    assert printed.out == f"{out}: json; inputs: 2; refused: 1\n"
    assert printed.err.startswith(f"fpenet infer: {folder / 'b.jpg'}: ")
    assert "truncated" in printed.err
