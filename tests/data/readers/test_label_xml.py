"""XML of labels: cases 15 and CVAT; document types, tracks and broken files are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.core.errors import InputError
from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, LabelledSet, UnreadFace
from fpenet.data.readers.tools.cvat import read_cvat
from fpenet.data.readers.tools.imglab import read_imglab
from fpenet.data.readers.tools.xml_elements import xml_elements, xml_root
from fpenet.params import Params

Read = Callable[[Path], LabelledSet]
IMGLAB = """<?xml version='1.0' encoding='ISO-8859-1'?>
<?xml-stylesheet type='text/xsl' href='image_metadata_stylesheet.xsl'?>
<dataset><name>faces</name><images>
<image file='a.png' width='64' height='48'>
<box top='4' left='8' width='40' height='30'>
<part name='00' x='10' y='6'/><part name='02' x='30' y='20'/></box>
<box top='0' left='0' width='9' height='9' ignore='1'/>
</image>
<image file='b.png'>
<box top='4' left='8' width='0' height='3'><part name='00' x='1' y='1'/></box></image>
</images></dataset>
"""
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels>
<label><name>face</name><type>rectangle</type></label>
<label><name>nose</name><type>points</type></label>
<label><name>eye</name><type>points</type></label>
</labels></task></meta>
<image id="0" name="a.png" width="64" height="48" subset="Train">
{shapes}
</image></annotations>
"""
LOOSE = """
<box label="face" xtl="1" ytl="2" xbr="31" ybr="42" z_order="0">
<attribute name="subject">ann</attribute></box>
<box label="face" xtl="33" ytl="2" xbr="63" ybr="42" z_order="0"/>
<points label="eye" occluded="1" points="10.5,20.5"/>
<points label="eye" occluded="0" points="40.5,20.5"/>
<points label="nose" occluded="0" points="12.5,30.5"/>
"""
SKELETON = """
<skeleton label="face"><attribute name="mood">calm</attribute>
<points label="nose" outside="0" occluded="0" points="12.5,30.5"/>
<points label="eye" outside="1" occluded="0" points="0,0"/>
</skeleton>
"""


@pytest.fixture
def read(params_with: Callable[..., Params]) -> Read:
    return lambda labels: read_labels(labels, params_with().data)


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.new("L", (64, 48), 90).save(folder / name)
    (folder / "labels.xml").write_text(text)
    return folder


def test_parts_of_dlib_count_from_0_and_a_box_covers_its_pixels(tmp_path: Path, read: Read) -> None:
    folder = write(tmp_path / "set", IMGLAB)
    assert find_format(LabelSource(folder)) == "imglab"
    face, ignored, empty = read_imglab(LabelSource(folder))
    assert isinstance(face, LabelledFace)
    expected = [[10, 6], [np.nan, np.nan], [30, 20]]
    assert np.array_equal(face.points, np.array(expected), equal_nan=True)
    assert face.face_box == (7.5, 3.5, 40.0, 30.0)  # columns 8 to 47
    assert isinstance(ignored, UnreadFace)
    assert not ignored.refusal.broken
    assert isinstance(empty, UnreadFace)
    assert empty.where == "labels.xml, line 9"
    assert empty.refusal.detail == "box is 0x3 px; it has no area"
    assert "numbers from 0" in read(folder).origins.scheme


def test_loose_points_of_cvat_are_grouped_by_boxes(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", CVAT.format(shapes=LOOSE))
    assert find_format(LabelSource(folder)) == "cvat"
    first, second = read_cvat(LabelSource(folder))
    assert isinstance(first, LabelledFace)
    assert isinstance(second, LabelledFace)
    assert first.points.tolist() == [[12.0, 30.0], [10.0, 20.0]]  # the task's order: nose, eye
    assert first.visible.tolist() == [True, False]
    assert first.face_box == (0.5, 1.5, 30.0, 40.0)
    assert (first.subject, first.attributes) == ("ann", {})
    assert (first.labelled_size, first.shown_upright) == ((64, 48), True)
    assert np.array_equal(second.points, np.array([[np.nan, np.nan], [40, 20]]), equal_nan=True)
    assert second.where == "labels.xml, line 7, face 2"


def test_a_skeleton_of_cvat_is_a_face(tmp_path: Path) -> None:
    (face,) = read_cvat(LabelSource(write(tmp_path / "set", CVAT.format(shapes=SKELETON))))
    assert isinstance(face, LabelledFace)
    assert face.points.tolist() == [[12.0, 30.0]]
    assert face.attributes == {"mood": "calm"}


def test_subsets_of_cvat_are_the_split_if_every_image_has_one(tmp_path: Path) -> None:
    shapes = '<points label="nose" points="1.5,2.5"/>'
    first = CVAT.format(shapes=shapes)
    for subset, parts in (("Validation", ["train", "val"]), ("default", [None, None])):
        image = f'<image name="b.png" subset="{subset}">{shapes}</image></annotations>'
        text = first.replace("</annotations>", image)
        faces = list(read_cvat(LabelSource(write(tmp_path / "set", text))))
        read = [face.attributes.get("split") for face in faces if isinstance(face, LabelledFace)]
        assert read == parts


def test_a_shape_of_several_points_is_in_order(tmp_path: Path) -> None:
    shape = '<points label="landmarks" points="1.5,2.5;3.5,4.5;5.5,6.5"/>'
    (face,) = read_cvat(LabelSource(write(tmp_path / "set", CVAT.format(shapes=shape))))
    assert isinstance(face, LabelledFace)
    assert face.points.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_points_of_two_faces_without_groups_are_refused(tmp_path: Path) -> None:
    shapes = '<points label="nose" points="1,2"/><points label="nose" points="3,4"/>'
    (face,) = read_cvat(LabelSource(write(tmp_path / "set", CVAT.format(shapes=shapes))))
    assert isinstance(face, UnreadFace)
    assert face.refusal.detail.startswith("keypoint nose is repeated; the points of each face need")


def test_tracks_of_cvat_are_refused_by_name(tmp_path: Path, read: Read) -> None:
    track = '<track id="0" label="face"><points frame="0" points="1,2"/></track>'
    folder = write(tmp_path / "set", f"<annotations>{track}</annotations>")
    with pytest.raises(InputError, match=r"labels\.xml is CVAT for video \(export it as 'CVAT for"):
        read(folder)
    with pytest.raises(InputError, match=r"CVAT for video \(tracks\), which is not read; export"):
        read(folder / "labels.xml")


BOMB = '<!DOCTYPE d [<!ENTITY a "x"><!ENTITY b "&a;&a;">]><dataset><images>&b;</images></dataset>'
OUTSIDE = '<!DOCTYPE d SYSTEM "file:///etc/passwd"><dataset/>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "line 1: declares a document type"),
        (OUTSIDE, "line 1: declares a document type"),
        ("<dataset><images>\n</dataset>", "line 2: not XML: mismatched tag"),
        ("<dataset>" + "<a>" * 40, "nested too deeply"),
        ("", "not XML: no element found"),
    ],
)
def test_dangerous_and_broken_xml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "labels.xml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        list(xml_elements(file, ["image"]))


def test_elements_have_their_line_and_content(tmp_path: Path) -> None:
    file = tmp_path / "labels.xml"
    file.write_text("<a>\n<b n='1'><b n='2'>text</b></b>\n<c/><b n='3'/></a>")
    elements = list(xml_elements(file, ["b"]))
    assert [(line, element.get("n")) for line, element in elements] == [(2, "1"), (3, "3")]
    assert elements[0][1][0].text == "text"
    assert xml_root(file) == "a"
