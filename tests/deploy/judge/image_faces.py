"""A crop folder that was cut from image files, by the stage itself."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from fpenet.data.crops.crop_faces import crop_faces
from fpenet.data.sample import FaceSample, table_of, write_table
from fpenet.params import CropParams


def write_crop_folder(
    folder: Path,
    images: Sequence[np.ndarray],
    points: np.ndarray,
    boxes: Sequence[tuple[float, float, float, float]],
) -> Path:
    """Write images (H, W) or (H, W, 3) and crop every face of them; all are judged.

    Args:
        points: (N, K, 2) image pixels, NaN where unlabelled.
    """
    samples = []
    for number, (image, face, box) in enumerate(zip(images, points, boxes, strict=True)):
        path = folder / "images" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        height, width = image.shape[:2]
        labelled = np.isfinite(face).all(axis=1)
        samples.append(
            FaceSample(
                f"{number}.png",
                (width, height),
                box,
                face.astype(np.float64),
                labelled,
                None,
                f"s{number}",
            )
        )
    for name in ("validate", "split", "crop"):
        (folder / name).mkdir()
    about = {"name": "tiny", "root": str(folder / "images"), "scheme": "", "blocking": ""}
    write_table(table_of(samples), folder / "validate/samples.parquet", **about)
    parts = pa.table({"part": ["kpi"] * len(samples)})
    write_table(parts, folder / "split/parts.parquet")
    crop_faces(
        validate_dir=folder / "validate",
        split_dir=folder / "split",
        crop=CropParams(box_scale=1.2, store_px=112),
        out_dir=folder / "crop",
    )
    return folder / "crop"


def write_blobs(folder: Path, colours: int = 3) -> Path:
    """Six faces of 3 labelled points each, on images of 200x160 px.

    The first point is the middle of a red blob, the second that of a brighter blue one; the third
    is on no blob.
    """
    rng = np.random.default_rng(0)
    images, points, boxes = [], [], []
    y, x = np.mgrid[:160, :200]
    for _ in range(6):
        left, top, side = rng.uniform(20, 60), rng.uniform(20, 40), rng.uniform(70, 90)
        face = np.array([left, top]) + side * np.array([[0.3, 0.25], [0.7, 0.6], [0.5, 0.9]])
        face += rng.uniform(-3, 3, (3, 2))
        image = np.full((160, 200, 3), 20.0)
        for (px, py), channel, level in ((face[0], 0, 180.0), (face[1], 2, 230.0)):
            image[..., channel] += level * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 72)
        images.append(np.clip(image, 0, 255).astype(np.uint8)[..., :colours])
        points.append(face)
        boxes.append((left, top, side, side))
    return write_crop_folder(folder, images, np.array(points), boxes)
