import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from fpenet.data.overlay import PICTURE_PX, draw_face
from fpenet.data.readers import read_labels
from fpenet.data.validation.report import render_report
from fpenet.data.validation.run_checks import run_checks
from fpenet.data.validation.validation_report import CheckSummary
from fpenet.params import Params
from tests.conftest import TinyLabels
from tests.manifests import VALIDATED

REPORT = replace(
    VALIDATED,
    dataset="<faces>",
    kept=20,
    faces=21,
    subjects=10,
    num_keypoints=5,
    blocking=("too many <broken> faces",),
    warnings=("few faces from the left",),
    dropped={"occluded": 1},
    checks={"occluded": CheckSummary("drop", 1, None, {})},
    counts={"yaw": {"frontal": 20}},
)


def test_a_face_is_drawn_with_its_points_where_they_are(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    path = tiny_labels.folder / "images/s000_0.png"
    given = read_labels(tiny_labels.write(), params_with().data)
    Image.new("L", (64, 64), 100).save(path)
    picture = np.asarray(draw_face(given.samples[0], given.root)).astype(int)
    assert picture.shape == (PICTURE_PX, PICTURE_PX, 3)
    # P3 at (32, 34); the points' middle is (31.5, 34.25), their side 23 px, the picture's 36.8.
    x, y = ((32 - 31.5, 34 - 34.25) @ np.eye(2) * PICTURE_PX / 36.8 + 79.5).round().astype(int)
    assert picture[y, x].tolist() == [0x3A, 0xD6, 0xFF]  # the colour of the nose
    assert picture[5, 5].tolist() == [100, 100, 100]


def test_the_page_needs_nothing_beside_it_and_trusts_no_name(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    tiny_labels.add("images/s020_<b>.png", face_box={"Occlusion": 7})
    given = read_labels(tiny_labels.write(), params_with().data)
    sifted = run_checks(given.samples, given.root, params_with().validate_)
    page = render_report(REPORT, given.samples, sifted, given.root, 3)
    assert not re.search(r"<script|<link|https?://|<b>|<faces>|<broken>", page)
    assert "Stops the run: too many &lt;broken&gt; faces" in page
    assert "images/s020_&lt;b&gt;.png<br>occlusion level 7; at most 5" in page
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 4  # three of the most suspicious, one of the check
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).size == (PICTURE_PX, PICTURE_PX)


def test_a_picture_that_cannot_be_read_is_said_in_its_place(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    tiny_labels.add("images/s020_0.png", face_box={"Occlusion": 7})
    given = read_labels(tiny_labels.write(), params_with().data)
    (tiny_labels.folder / "images/s020_0.png").write_bytes(b"no picture")
    sifted = run_checks(given.samples, given.root, params_with().validate_)
    page = render_report(REPORT, given.samples, sifted, given.root, 3)
    assert "s020_0.png: a text file; images are PNG, JPEG" in page
