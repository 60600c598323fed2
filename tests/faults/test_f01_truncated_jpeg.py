from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from fpenet.data.split import split_subjects
from fpenet.data.validation.validate import validate_labels
from fpenet.params import Params
from tests.conftest import TinyLabels


@pytest.fixture(autouse=True, scope="module")
def _imported_once() -> None:
    """Great Expectations takes seconds to import: here once, not in a process of each run."""
    import great_expectations  # noqa: F401


def cut_picture(tiny_labels: TinyLabels, name: str, share: float) -> None:
    """A JPEG of noise, cut off after ``share`` of its bytes."""
    path = tiny_labels.folder / name
    levels = np.random.default_rng(35).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(levels).save(path, format="JPEG")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_f01_a_truncated_jpeg_is_rejected_by_name_and_reason(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], tmp_path: Path, share: float
) -> None:
    tiny_labels.add("images/s020_0.jpg", picture=False)
    cut_picture(tiny_labels, "images/s020_0.jpg", share)
    params = params_with({"data.labels": str(tiny_labels.write())})
    out_dir = tmp_path / "out"
    out_dir.mkdir()
    summary = validate_labels(data=params.data, validate=params.validate_, out_dir=out_dir)
    assert (summary["kept"], summary["dropped"]) == (20, {"image unreadable": 1})
    drops = (out_dir / "drops.csv").read_text().splitlines()
    assert drops[1].startswith(
        "images/s020_0.jpg,20,image unreadable,s020_0.jpg: image file is tru"
    )
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_f01_too_many_truncated_jpegs_stop_the_run(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], tmp_path: Path
) -> None:
    for number in (20, 21):
        tiny_labels.add(f"images/s0{number}_0.jpg", picture=False)
        cut_picture(tiny_labels, f"images/s0{number}_0.jpg", 0.9)
    params = params_with({"data.labels": str(tiny_labels.write())})
    out_dir = tmp_path / "out"
    out_dir.mkdir()
    summary = validate_labels(data=params.data, validate=params.validate_, out_dir=out_dir)
    (said,) = summary["blocking"]
    assert said.startswith("2 of 22 faces are broken")
    assert "2 image unreadable (first: images/s020_0.jpg: s020_0.jpg: image file is tr" in said
    with pytest.raises(ValueError, match="stage validate has blocking findings: 2 of 22 faces"):
        split_subjects(validate_dir=out_dir, split=params.split, out_dir=tmp_path)
