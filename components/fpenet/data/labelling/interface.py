"""The labelling interface of Label Studio for K keypoints, as XML.

A keypoint's label is its 1-based number, as in the label files; a hidden one has the choice
``occluded``; the face has a tight rectangle and an occlusion level.
Source: Label Studio's tags KeyPointLabels, RectangleLabels and Choices; FPENet model card (what is
labelled).
"""

from xml.etree import ElementTree

from fpenet.data.overlay import point_colours

LEVELS = tuple(str(level) for level in range(10))


def interface_xml(num_keypoints: int) -> str:
    """The interface for ``num_keypoints`` keypoints.

    Raises:
        InputError: ``num_keypoints`` is not positive.
    """
    view = ElementTree.Element("View")
    ElementTree.SubElement(
        view, "Image", name="image", value="$image", zoom="true", zoomControl="true"
    )
    points = ElementTree.SubElement(
        view, "KeyPointLabels", name="keypoints", toName="image", strokeWidth="2", opacity="1"
    )
    for number, colour in enumerate(point_colours(num_keypoints), start=1):
        ElementTree.SubElement(points, "Label", value=str(number), background=colour, maxUsages="1")
    box = ElementTree.SubElement(view, "RectangleLabels", name="face", toName="image")
    ElementTree.SubElement(box, "Label", value="face", background="#ffffff", maxUsages="1")
    ElementTree.SubElement(view, "Header", value="The keypoint is")
    hidden = ElementTree.SubElement(
        view,
        "Choices",
        name="visibility",
        toName="image",
        perRegion="true",
        whenTagName="keypoints",
        choice="multiple",
    )
    ElementTree.SubElement(hidden, "Choice", value="occluded")
    ElementTree.SubElement(view, "Header", value="Occlusion of the face, 0 none to 9 all")
    level = ElementTree.SubElement(
        view, "Choices", name="occlusion", toName="image", choice="single", showInline="true"
    )
    for value in LEVELS:
        ElementTree.SubElement(level, "Choice", value=value)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"
