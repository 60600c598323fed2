from xml.etree import ElementTree

import pytest

from fpenet.data.labelling.interface import interface_xml


@pytest.mark.parametrize("count", [1, 68, 80, 104])
def test_every_keypoint_has_its_number_once(count: int) -> None:
    view = ElementTree.fromstring(interface_xml(count))
    labels = view.findall("KeyPointLabels/Label")
    assert [label.get("value") for label in labels] == [str(n) for n in range(1, count + 1)]
    assert {label.get("maxUsages") for label in labels} == {"1"}
    controls = {tag.get("name"): tag.get("toName") for tag in view if tag.get("toName")}
    assert controls == dict.fromkeys(("keypoints", "face", "visibility", "occlusion"), "image")


def test_a_keypoint_may_be_occluded_and_a_face_has_levels_0_to_9() -> None:
    view = ElementTree.fromstring(interface_xml(68))
    hidden, level = view.findall("Choices")
    assert (hidden.get("perRegion"), hidden.get("whenTagName")) == ("true", "keypoints")
    assert [choice.get("value") for choice in hidden] == ["occluded"]
    assert [choice.get("value") for choice in level] == list("0123456789")


def test_no_keypoints_are_no_interface() -> None:
    with pytest.raises(ValueError, match=r"data\.keypoints is 0"):
        interface_xml(0)
