"""BioID, XM2VTS and FGnet: .pts files beside .pgm, .bmp and .tif images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.data.images import read_grey
from fpenet.data.readers import read_labels
from fpenet.params import Params

LEVELS = np.arange(48, dtype=np.uint8).reshape(6, 8)


@pytest.mark.parametrize("suffix", [".pgm", ".bmp", ".tif", ".BMP", ".webp"])
def test_a_pts_set_of_this_kind_of_image_is_read(
    tmp_path: Path, params_with: Callable[..., Params], suffix: str
) -> None:
    path = tmp_path / f"bioid_0000{suffix}"
    Image.fromarray(LEVELS).save(path, lossless=True)
    (tmp_path / "bioid_0000.pts").write_text("version: 1\nn_points: 2\n{\n2 3\n5 4\n}\n")
    labelled = read_labels(tmp_path, params_with().data)
    assert labelled.rejected == []
    (sample,) = labelled.samples
    assert (sample.image, sample.image_size) == (path.name, (8, 6))
    assert sample.points.tolist() == [[1.0, 2.0], [4.0, 3.0]]  # MATLAB counts from 1
    assert read_grey(path).tolist() == LEVELS.tolist()
