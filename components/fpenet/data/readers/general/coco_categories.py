"""What the keypoints of a COCO annotation are: a face's, a body's with a face, or no face's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fpenet.data.readers.labelled_set import finite_number, short_value
from fpenet.data.rejected import Refusal

WHOLE_BODY = 133
FACE_OF_WHOLE_BODY = slice(23, 91)
"""The 68 points of the face among COCO-WholeBody's 133."""
_BODY_K = 17  # keypoints of COCO's category person
_NOT_FACES = {
    "a body": ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"),
    "a hand": ("thumb", "forefinger", "index_finger", "middle_finger", "pinky"),
}
_FACE_WORDS = ("face", "head")
_MOST_NAMED = 6  # names of keypoints in a message


@dataclass(frozen=True, slots=True)
class CocoCategory:
    """One category: its name and the names of its keypoints."""

    name: str
    keypoints: tuple[str, ...]

    @property
    def is_face(self) -> bool:
        """Whether its name says that it is a face."""
        return any(word in self.name.casefold() for word in _FACE_WORDS)

    @property
    def named_keypoints(self) -> tuple[str, ...]:
        """The names, if they are names and not numbers."""
        are_names = any(not name.strip().isdigit() for name in self.keypoints)
        return self.keypoints if are_names else ()

    def refuse_others(self, num_keypoints: int, is_with_faces: bool) -> None:
        """Check that keypoints of this category can be a face's.

        Args:
            is_with_faces: another category is a face by its name.

        Raises:
            Refusal: they are a body's or a hand's; names them.
        """
        names = " ".join(self.keypoints).casefold()
        for what, words in _NOT_FACES.items():
            if sum(word in names for word in words) >= 2:
                listed = ", ".join(self.keypoints[:_MOST_NAMED])
                raise Refusal(
                    "not a face",
                    f"category {self.name!r} has the keypoints of {what} ({listed}, ...), not of a"
                    " face",
                )
        if self.name.casefold() == "person" and num_keypoints == _BODY_K and not self.keypoints:
            raise Refusal("not a face", "17 keypoints of category 'person' are a body's")
        if self.name and is_with_faces and not self.is_face:
            raise Refusal("not a face", f"category {self.name!r} is no face", broken=False)


def categories_of(rows: Any) -> dict[Any, CocoCategory]:
    """Id -> category, of a file's ``categories``; broken ones are left out."""
    categories: dict[Any, CocoCategory] = {}
    for row in rows if isinstance(rows, Sequence) else ():
        if isinstance(row, Mapping) and isinstance(row.get("id"), int | str):
            names = row.get("keypoints")
            names = tuple(map(str, names)) if isinstance(names, list) else ()
            categories[row["id"]] = CocoCategory(str(row.get("name", "")), names)
    return categories


def face_of_body(annotation: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """The keypoints and the box of the face in a COCO-WholeBody annotation; None: it is another.

    Raises:
        Refusal: the face of this person is not labelled.
    """
    if "face_kpts" in annotation:
        if not annotation.get("face_valid", True):
            raise Refusal("no keypoints", "face_valid is false", broken=False)
        box = annotation.get("face_box")
        return annotation["face_kpts"], box if _has_area(box) else None
    values = annotation.get("keypoints")
    if isinstance(values, list) and len(values) == 3 * WHOLE_BODY:
        face = FACE_OF_WHOLE_BODY
        return values[3 * face.start : 3 * face.stop], None
    return None


def _has_area(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and box[2] != 0 and box[3] != 0


def has_visible(annotations: Sequence[Any]) -> bool:
    """Whether a keypoint of any annotation has v = 2."""
    return any(
        isinstance(values, list) and any(v == 2 for v in values[2::3])
        for annotation in annotations
        if isinstance(annotation, Mapping)
        for values in (annotation.get("face_kpts", annotation.get("keypoints")),)
    )


def flag_of(value: Any, number: int) -> int:
    """The flag v of a keypoint: 0 unlabelled, 1 hidden, 2 visible.

    Raises:
        Refusal: it is another value.
    """
    flag = finite_number(f"v{number}", value) if isinstance(value, str) else value
    if flag not in (0, 1, 2):
        raise Refusal(
            "visibility", f"keypoint {number}: v is {short_value(value)}; it must be 0, 1, 2"
        )
    return int(flag)
