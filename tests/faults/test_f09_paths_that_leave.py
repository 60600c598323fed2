from collections.abc import Callable

import pytest
from PIL import Image

from fpenet.data.readers import read_labels
from fpenet.params import Params
from tests.conftest import TinyLabels


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../secret.png", "is outside of the labels' folder"),
        ("images/../../secret.png", "is outside of the labels' folder"),
        ("..\\secret.png", "is outside of the labels' folder"),
        ("/etc/passwd", "is outside of the labels' folder"),
        ("C:\\secret.png", "no such image; looked for C:/secret.png"),
        ("link.png", "is outside of the labels' folder"),
        ("linked/secret.png", "is outside of the labels' folder"),
        ("a\0.png", "it must be a path"),
        ("", "it must be a path"),
    ],
)
def test_f09_a_file_name_that_leaves_the_folder_is_refused(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], name: str, said: str
) -> None:
    outside = tiny_labels.folder.parent / "secret.png"
    Image.new("L", (64, 64)).save(outside)
    (tiny_labels.folder / "link.png").symlink_to(outside)
    (tiny_labels.folder / "linked").symlink_to(outside.parent)
    tiny_labels.add(name, picture=False)
    labelled = read_labels(tiny_labels.write(), params_with().data)
    (rejected,) = labelled.rejected
    assert rejected.detail.startswith("labels.json, record 21: ")
    assert said in rejected.detail
    assert len(labelled.samples) == 20


def test_f09_a_link_within_the_folder_is_fine(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    (tiny_labels.folder / "link.png").symlink_to(tiny_labels.folder / "images/s000_0.png")
    tiny_labels.add("images/../link.png", picture=False)
    assert read_labels(tiny_labels.write(), params_with().data).samples[-1].image == "link.png"
