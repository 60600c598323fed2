"""Face tracking in a video: each face has one number in all frames, and its points are smoothed.

Input: frames in their order. Does: detects faces every few frames, and when there is no track; in
the other frames the face box of a track is the box of its points in the previous frame; assigns
detections to tracks by the overlap of their boxes; smooths the points. Output: the faces of each
frame.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fpenet.deploy.runtime.face_detection import FaceBox
from fpenet.deploy.runtime.landmarker import (
    FaceKeypoints,
    Landmarker,
    box_around,
    grey_levels,
    overlap,
)
from fpenet.deploy.runtime.one_euro import OneEuro, Smoothing

SAME_FACE_OVERLAP = 0.3
FEWEST_VISIBLE = 0.25
"""A track with a smaller share of visible points ends, if the net predicts visibility."""
MOST_MISSED = 2
"""A track ends when more detections in a row than this have no face for it."""


@dataclass
class _Track:
    number: int
    last: FaceKeypoints
    """The face of the previous frame, not smoothed; its points give the next face box."""
    smooth: OneEuro | None
    missed: int = 0


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """A face of one frame; ``number`` is the same in all frames, from 1 on."""

    number: int
    face: FaceKeypoints


@dataclass
class FaceTracks:
    """The faces of one video; ``follow`` its frames in turn.

    Attributes:
        face_box: the face box in the first frame, image pixels; ``whole``: each whole frame is a
            face; ``detect``: detect all faces.
        smoothing: None: no smoothing.
        detect_every: frames from one detection to the next.
    """

    landmarker: Landmarker
    face_box: FaceBox | Literal["whole", "detect"] = "detect"
    smoothing: Smoothing | None = field(default_factory=Smoothing)
    detect_every: int = 10
    _tracks: list[_Track] = field(default_factory=list, init=False)
    _frames: int = field(default=0, init=False)
    _faces: int = field(default=0, init=False)

    def follow(self, image: Path | str | NDArray[np.uint8], seconds: float) -> list[TrackedFace]:
        """The faces of the next frame, the oldest track first.

        Args:
            image: see ``Landmarker.keypoints``.
            seconds: time since the start; larger than that of the previous frame.
        """
        grey = grey_levels(image)
        first, self._frames = self._frames == 0, self._frames + 1
        if self.face_box == "whole" or (first and self.face_box != "detect"):
            self._assign(self.landmarker.keypoints(grey, self.face_box), detected=False)
        elif self.face_box == "detect" and (
            not self._tracks or (self._frames - 1) % self.detect_every == 0
        ):
            self._assign(self.landmarker.keypoints(grey, "detect"), detected=True)
            self._update([track for track in self._tracks if track.missed], grey)
        else:
            self._update(self._tracks, grey)
        return [TrackedFace(track.number, self._smoothed(track, seconds)) for track in self._tracks]

    def _assign(self, faces: list[FaceKeypoints], detected: bool) -> None:
        """Assign each face to the track with the largest overlap, or to a new track."""
        pairs = sorted(
            (
                (overlap(box_around(track.last), box_around(face)), t, f)
                for t, track in enumerate(self._tracks)
                for f, face in enumerate(faces)
            ),
            reverse=True,
        )
        if self.face_box == "whole":  # one face in each frame, independent of the overlap
            pairs = [(1.0, 0, 0)] if self._tracks else []
        face_of: dict[int, int] = {}
        for shared, t, f in pairs:
            if shared >= SAME_FACE_OVERLAP and t not in face_of and f not in face_of.values():
                face_of[t] = f
        for t, track in enumerate(self._tracks):
            if t in face_of:
                track.last, track.missed = faces[face_of[t]], 0
            elif detected:
                track.missed += 1
        self._tracks = [track for track in self._tracks if track.missed <= MOST_MISSED]
        for f, face in enumerate(faces):
            if f not in face_of.values():
                self._faces += 1
                smooth = None if self.smoothing is None else OneEuro(self.smoothing)
                self._tracks.append(_Track(self._faces, face, smooth))

    def _update(self, tracks: list[_Track], grey: NDArray[np.uint8]) -> None:
        """Predict these faces in the box of their previous points; remove those that are lost."""
        boxes = [box_around(track.last) for track in tracks]
        for track, face in zip(tracks, self.landmarker.keypoints_in(grey, boxes), strict=True):
            hidden = face.visible is not None and face.visible.mean() < FEWEST_VISIBLE
            if hidden or overlap(box_around(face), face.box) < SAME_FACE_OVERLAP:
                self._tracks.remove(track)
            track.last = face

    def _smoothed(self, track: _Track, seconds: float) -> FaceKeypoints:
        if track.smooth is None:
            return track.last
        side = max(track.last.box[2:])
        return replace(track.last, keypoints=track.smooth(track.last.keypoints, seconds, side))
