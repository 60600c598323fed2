"""Keypoints of one face as Label Studio's results: percent of the image, one region per keypoint.

Label Studio's 0 % is the left (top) edge of the image and 100 % the right (bottom) edge, so pixel
centre x is at 100 (x + 0.5) / width. Source: Label Studio's task format.
"""

from typing import Any

import numpy as np

from fpenet.data.sample import Bools, Floats

IMAGE_URL = "/data/local-files/?d="
"""Prefix of the paths of files in Label Studio's local storage."""
_POINT_PERCENT = 0.5


def results_of(
    points: Floats,
    visible: Bools,
    image_size: tuple[int, int],
    face_box: tuple[float, float, float, float] | None,
    occlusion_level: int | None,
) -> list[dict[str, Any]]:
    """The results of common annotation or prediction, for the interface of this package.

    Args:
        points: (K, 2) image pixels, NaN where unlabelled.
        visible: (K,).
        image_size: width, height.
        face_box: (x, y, width, height), image pixels.
    """
    width, height = image_size
    about = {
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    results: list[dict[str, Any]] = []
    for number, ((x, y), is_visible) in enumerate(zip(points, visible, strict=True), start=1):
        if np.isnan(x):
            continue
        position = {
            "x": 100 * (float(x) + 0.5) / width,
            "y": 100 * (float(y) + 0.5) / height,
            "width": _POINT_PERCENT,
        }
        common = {"id": f"p{number}", **about}
        labels = {"from_name": "keypoints", "type": "keypointlabels"}
        results.append(common | labels | {"value": position | {"keypointlabels": [str(number)]}})
        if not is_visible:
            hidden = {"from_name": "visibility", "type": "choices"}
            results.append(common | hidden | {"value": position | {"choices": ["occluded"]}})
    if face_box is not None:
        x, y, box_width, box_height = face_box
        box = {
            "x": 100 * (x + 0.5) / width,
            "y": 100 * (y + 0.5) / height,
            "width": 100 * box_width / width,
            "height": 100 * box_height / height,
            "rotation": 0,
            "rectanglelabels": ["face"],
        }
        rectangle = {"from_name": "face", "type": "rectanglelabels", "value": box}
        results.append({"id": "face", **about} | rectangle)
    if occlusion_level is not None:
        level = {"from_name": "occlusion", "type": "choices"}
        value = {"value": {"choices": [str(occlusion_level)]}}
        results.append({"id": "occlusion", **about} | level | value)
    return results
