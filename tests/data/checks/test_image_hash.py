import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from fpenet.data.checks.image_hash import hash_cells, image_hash, near_pairs
from fpenet.data.checks.window import Grey


def photo(seed: int) -> Grey:
    """A smooth picture, as photographs are: (120, 160) grey levels."""
    coarse = np.random.default_rng(seed).integers(20, 236, (9, 12)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC))


def recompressed(levels: Grey) -> Grey:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format="JPEG", quality=40)
    return np.asarray(Image.open(file))


COPIES: dict[str, Callable[[Grey], Grey]] = {
    "recompressed": recompressed,
    "half the size": lambda levels: np.asarray(Image.fromarray(levels).resize((80, 60))),
    "brighter": lambda levels: (levels.astype(int) * 17 // 16 + 3).clip(0, 255).astype(np.uint8),
    "mirrored": lambda levels: levels[:, ::-1],
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_under_another_name_is_found_among_strangers(how: str) -> None:
    looks = [image_hash(photo(seed), f"sha{seed}") for seed in range(40)]
    looks.append(image_hash(COPIES[how](photo(7)), "sha-copy"))
    people = [[f"s{seed}"] for seed in range(41)]
    (pair,) = near_pairs(looks, people, 12)
    assert (pair.first, pair.second, pair.exact) == (7, 40, False)
    assert pair.mirrored == (how == "mirrored")
    assert pair.bits <= 12


def test_pictures_of_one_person_may_be_alike() -> None:
    looks = [image_hash(photo(1), "one"), image_hash(recompressed(photo(1)), "two")]
    assert near_pairs(looks, [["ann"], ["ann"]], 12) == []
    assert len(near_pairs(looks, [["ann"], ["ann", "bob"]], 12)) == 1


def test_the_same_file_is_exact_whatever_its_picture() -> None:
    flat = np.full((20, 20), 128, np.uint8)
    looks = [image_hash(flat, "same"), image_hash(flat, "same"), image_hash(flat, "other")]
    pairs = near_pairs(looks, [["ann"], ["bob"], ["cid"]], 12)
    assert [(pair.first, pair.second, pair.exact, pair.bits) for pair in pairs] == [(0, 1, True, 0)]


def test_no_bits_may_differ_where_the_limit_is_none() -> None:
    looks = [image_hash(photo(1), "one"), image_hash(photo(1), "two")]
    looks.append(image_hash(COPIES["half the size"](photo(1)), "three"))
    bits = [pair.bits for pair in near_pairs(looks, [["a"], ["b"], ["c"]], 0)]
    assert bits == [0] * len(bits)
    assert bits


def test_a_bit_says_that_a_cell_is_brighter_than_the_one_to_its_left() -> None:
    rising = np.tile(np.arange(17, dtype=np.uint8), (1, 16, 1))
    assert hash_cells(rising).tolist() == [[0xFFFF] * 16]
    assert hash_cells(rising[:, :, ::-1]).tolist() == [[0] * 16]
    one = rising.copy()
    one[0, 3, 5] = one[0, 3, 4]  # one cell, in one word
    assert np.bitwise_count(hash_cells(one) ^ hash_cells(rising)).sum() == 1
