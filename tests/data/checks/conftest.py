"""Cartoon faces with 68 keypoints: lines on a grey image, with a random shape for each face."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fpenet.data.checks.faces import LabelledFaces, labelled_faces
from fpenet.data.checks.window import Grey
from fpenet.data.sample import FaceSample, Floats, keypoints_box

SIZE = 96


def cartoon_shape(random: np.random.Generator) -> Floats:
    """(68, 2) points around (0, 0); the face is about 2 units wide."""

    def arc(
        x: float, y: float, width: float, height: float, start: float, stop: float, count: int
    ) -> Floats:
        angles = np.linspace(math.radians(start), math.radians(stop), count)
        return np.column_stack([x + width * np.cos(angles), y + height * np.sin(angles)])

    def ring(x: float, y: float, width: float, height: float, count: int) -> Floats:
        return arc(x, y, width, height, 180, 180 + 360 * (count - 1) / count, count)

    wide, long, eye, mouth, brow = random.normal(1, 0.08, 5)
    parts = [
        arc(0, 0, wide, 1.1 * long, 180, 0, 17),
        arc(-0.45, -0.45 * brow, 0.28, 0.1, 180, 360, 5),
        arc(0.45, -0.45 * brow, 0.28, 0.1, 180, 360, 5),
        np.column_stack([np.zeros(4), np.linspace(-0.25, 0.2, 4)]),
        np.column_stack([np.linspace(-0.18, 0.18, 5), [0.3, 0.33, 0.35, 0.33, 0.3]]),
        ring(-0.45, -0.2, 0.18 * eye, 0.08, 6),
        ring(0.45, -0.2, 0.18 * eye, 0.08, 6),
        ring(0, 0.62, 0.36 * mouth, 0.16, 12),
        ring(0, 0.62, 0.24 * mouth, 0.06, 8),
    ]
    return np.concatenate(parts)


def draw_cartoon(points: Floats) -> Grey:
    """A (SIZE, SIZE) image of the face with these points."""
    image = Image.new("L", (SIZE, SIZE), 150)
    draw = ImageDraw.Draw(image)

    def line(first: int, last: int, shade: int, closed: bool = False) -> None:
        path = [tuple(point) for point in points[first:last]]
        draw.line([*path, path[0]] if closed else path, fill=shade, width=2)

    line(0, 17, 60)
    for first, last, shade in ((17, 22, 30), (22, 27, 30), (27, 31, 200), (31, 36, 90)):
        line(first, last, shade)
    for first, last, shade in ((36, 42, 10), (42, 48, 10), (48, 60, 20), (60, 68, 240)):
        line(first, last, shade, closed=True)
    return np.asarray(image)


@pytest.fixture(scope="session")
def cartoons() -> tuple[LabelledFaces, list[Grey]]:
    """240 faces of 60 subjects, and their images."""
    random = np.random.default_rng(35)
    samples, images = [], []
    for number in range(240):
        turn = random.normal(0, 0.1)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        place = random.uniform(44, 52, 2)
        points = random.uniform(20, 26) * cartoon_shape(random) @ rotation.T + place
        noise = random.normal(0, 6, (SIZE, SIZE))
        images.append(np.clip(draw_cartoon(points) + noise, 0, 255).astype(np.uint8))
        points += random.normal(0, 0.3, points.shape)
        box, visible = keypoints_box(points), np.ones(68, bool)
        name = f"images/s{number // 4:03d}_{number % 4}.png"
        samples.append(
            FaceSample(name, (SIZE, SIZE), box, points, visible, 0, f"s{number // 4:03d}")
        )
    return labelled_faces(samples), images


@pytest.fixture
def faces_with() -> Callable[..., LabelledFaces]:
    """Faces with 4 points, valid by default: ``faces_with(points=[...], occlusion=[...])``."""

    def make(count: int = 1, **changed: Any) -> LabelledFaces:
        points = np.array([[12.0, 12.0], [48.0, 14.0], [30.0, 46.0], [np.nan, np.nan]])
        plain: dict[str, Any] = {
            "images": [f"{number}.png" for number in range(count)],
            "subjects": [f"s{number}" for number in range(count)],
            "points": np.stack([points] * count),
            "boxes": np.array([[10.0, 10.0, 40.0, 40.0]] * count),
            "sizes": np.array([[100.0, 80.0]] * count),
            "occlusion": np.zeros(count),
            "attributes": {},
        }
        arrays = {
            name: np.array(value, float) if name in ("points", "boxes", "occlusion") else value
            for name, value in changed.items()
        }
        return LabelledFaces(**(plain | arrays))

    return make
