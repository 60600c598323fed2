"""Our PNG bytes against an independent reader."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from synthface.png import encode_png


def decoded(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "L"
        return np.asarray(image)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 7), (48, 64)])
def test_any_reader_gets_the_pixels_back(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(decoded(encode_png(image)), image)


def test_a_flat_image_takes_about_a_bit_a_pixel() -> None:
    image = np.full((480, 640), 77, np.uint8)
    data = encode_png(image)
    np.testing.assert_array_equal(decoded(data), image)
    assert len(data) < 480 * 640 / 8 * 1.05


def test_very_unequal_frequencies_keep_codes_within_deflates_limit() -> None:
    # Fibonacci counts make plain Huffman codes as long as the alphabet.
    counts = [1, 1]
    while sum(counts) < 200_000:
        counts.append(counts[-1] + counts[-2])
    values = np.repeat(np.arange(len(counts)), counts)[:160_000].astype(np.uint8)
    image = np.random.default_rng(2).permutation(values).reshape(400, 400)
    np.testing.assert_array_equal(decoded(encode_png(image)), image)
