"""Faces keep their numbers through a video. The faces are bright squares, found by a stand-in for
detector and engine, so that each case can be made; tests of ``infer`` run the real ones."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fpenet.deploy.runtime.face_tracks import MOST_MISSED, FaceTracks, TrackedFace
from fpenet.deploy.runtime.landmarker import FaceKeypoints, box_around
from fpenet.deploy.runtime.one_euro import Smoothing

SIDE = 40


class Squares:
    """What ``FaceTracks`` asks of a Landmarker; a face is a square of one grey level."""

    def __init__(self) -> None:
        self.searches = 0
        self.blind: set[int] = set()

    def keypoints(self, grey: NDArray[np.uint8], face_box: Any) -> list[FaceKeypoints]:
        if face_box == "detect":
            self.searches += 1
            levels = sorted(set(np.unique(grey).tolist()) - {0} - self.blind)
            return [self.face(grey, level, None) for level in levels]
        return self.keypoints_in(grey, [face_box])

    def keypoints_in(self, grey: NDArray[np.uint8], boxes: list[Any]) -> list[FaceKeypoints]:
        found = []
        for x, y, width, height in boxes:
            inside = grey[round(y) : round(y + height), round(x) : round(x + width)]
            level = int(inside.max(initial=0))
            found.append(self.face(grey, level, (x, y, width, height)))
        return found

    def face(self, grey: NDArray[np.uint8], level: int, box: Any) -> FaceKeypoints:
        if level == 0:  # nothing there: points anywhere in the box, none visible
            corners = np.array([[box[0], box[1]], [box[0] + box[2], box[1] + box[3]]], float)
            return FaceKeypoints(box, corners, np.zeros(2, np.float32), np.zeros(2, bool))
        rows, columns = np.nonzero(grey == level)
        points = np.array([[columns.min(), rows.min()], [columns.max(), rows.max()]], float)
        own = FaceKeypoints((0, 0, 1, 1), points, np.ones(2, np.float32), np.ones(2, bool))
        around = box_around(own)
        return FaceKeypoints(box or around, own.keypoints, own.confidence, own.visible)


def frame(*faces: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A picture with a square of grey ``level`` at each (x, y, level)."""
    image = np.zeros((200, 300), np.uint8)
    for x, y, level in faces:
        image[y : y + SIDE, x : x + SIDE] = level
    return image


@pytest.fixture
def squares() -> Squares:
    return Squares()


def tracks_of(squares: Squares, **more: Any) -> FaceTracks:
    return FaceTracks(squares, **({"smoothing": None} | more))  # type: ignore[arg-type]


def numbers(found: list[TrackedFace], image: NDArray[np.uint8]) -> dict[int, int]:
    """Grey level of each face -> its number."""
    places = {one.number: one.face.keypoints.mean(axis=0).astype(int) for one in found}
    return {int(image[y, x]): number for number, (x, y) in places.items()}


def test_two_faces_keep_their_numbers_while_they_move(squares: Squares) -> None:
    tracks = tracks_of(squares, detect_every=5)
    for t in range(12):
        image = frame((10 + 4 * t, 20, 100), (200 - 4 * t, 120, 200))
        assert numbers(tracks.follow(image, t / 25), image) == {100: 1, 200: 2}
    assert squares.searches == 3  # frames 0, 5 and 10


def test_faces_are_not_looked_for_while_they_are_followed(squares: Squares) -> None:
    tracks = tracks_of(squares, detect_every=1000)
    for t in range(4):
        tracks.follow(frame((10 + t, 20, 100)), t / 25)
    assert squares.searches == 1


def test_a_new_face_has_a_new_number_at_the_next_search(squares: Squares) -> None:
    tracks = tracks_of(squares, detect_every=3)
    for t in range(6):
        there = [(10, 20, 100), *([(200, 20, 200)] if t >= 1 else [])]
        found = tracks.follow(frame(*there), t / 25)
        assert len(found) == (1 if t < 3 else 2)
    assert [one.number for one in found] == [1, 2]


def test_a_face_that_is_gone_ends_where_its_points_are_not_visible(squares: Squares) -> None:
    tracks = tracks_of(squares, detect_every=100)
    assert len(tracks.follow(frame((10, 20, 100), (200, 20, 200)), 0.0)) == 2
    image = frame((10, 20, 100))
    assert numbers(tracks.follow(image, 0.04), image) == {100: 1}
    assert tracks.follow(frame(), 0.08) == []
    image = frame((10, 20, 100))
    assert numbers(tracks.follow(image, 0.12), image) == {100: 3}  # a face that comes back is new


def test_a_face_that_the_detector_misses_is_followed_for_a_while(squares: Squares) -> None:
    tracks = tracks_of(squares, detect_every=1)
    tracks.follow(frame((10, 20, 100)), 0.0)
    squares.blind = {100}  # turned aside
    for t in range(1, MOST_MISSED + 1):
        (found,) = tracks.follow(frame((10 + 3 * t, 20, 100)), t / 25)
        assert found.face.keypoints[0].tolist() == [10 + 3 * t, 20]
    assert tracks.follow(frame((30, 20, 100)), 1.0) == []


def test_a_given_box_is_followed_without_any_search(squares: Squares) -> None:
    tracks = tracks_of(squares, face_box=(10.0, 20.0, 40.0, 40.0))
    for t in range(5):
        (found,) = tracks.follow(frame((10 + 4 * t, 20, 100)), t / 25)
        assert found.face.keypoints[0].tolist() == [10 + 4 * t, 20]
    assert squares.searches == 0


def test_points_are_smoothed_and_the_search_is_not_misled_by_it(squares: Squares) -> None:
    tracks = tracks_of(squares, smoothing=Smoothing(1.0, 0.0), detect_every=100)
    for t in range(6):
        (found,) = tracks.follow(frame((10 + 4 * t, 20, 100)), t / 25)
    assert 10 < found.face.keypoints[0, 0] < 26
    assert found.face.box[0] == 10 + 4 * 4  # about the points of the frame before, as they were
