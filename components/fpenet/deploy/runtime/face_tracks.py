"""Faces through the frames of a video: each keeps its number, and its points stop trembling.

Input: frames in their order. Does: finds faces every few frames and when none is known; between,
looks where each face's points were in the frame before; joins what it finds to the faces that it
knows by the overlap of their boxes; smooths. Output: the faces of each frame.
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
"""Share of a face's points; below it, where the net tells, there is no face any more."""
MOST_MISSED = 2
"""Detections in a row that may miss a face that its points still follow."""


@dataclass
class _Track:
    number: int
    last: FaceKeypoints
    """As the engine said it, not smoothed: where to look next."""
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
        face_box: where the face is in the first frame, image pixels; ``whole`` when each frame is
            the face; ``detect`` finds all faces.
        smoothing: None leaves the points as they are.
        detect_every: frames from one search for faces to the next.
    """

    landmarker: Landmarker
    face_box: FaceBox | Literal["whole", "detect"] = "detect"
    smoothing: Smoothing | None = field(default_factory=Smoothing)
    detect_every: int = 10
    _tracks: list[_Track] = field(default_factory=list, init=False)
    _frames: int = field(default=0, init=False)
    _faces: int = field(default=0, init=False)

    def follow(self, image: Path | str | NDArray[np.uint8], seconds: float) -> list[TrackedFace]:
        """The faces of the next frame, those known longest first.

        Args:
            image: as ``Landmarker.keypoints`` takes it.
            seconds: since the start; more than for the frame before.
        """
        grey = grey_levels(image)
        first, self._frames = self._frames == 0, self._frames + 1
        if self.face_box == "whole" or (first and self.face_box != "detect"):
            self._join(self.landmarker.keypoints(grey, self.face_box), searched=False)
        elif self.face_box == "detect" and (
            not self._tracks or (self._frames - 1) % self.detect_every == 0
        ):
            self._join(self.landmarker.keypoints(grey, "detect"), searched=True)
            self._look_at([track for track in self._tracks if track.missed], grey)
        else:
            self._look_at(self._tracks, grey)
        return [TrackedFace(track.number, self._smoothed(track, seconds)) for track in self._tracks]

    def _join(self, faces: list[FaceKeypoints], searched: bool) -> None:
        """Give each found face to the track that it overlaps most, else to a new one."""
        pairs = sorted(
            (
                (overlap(box_around(track.last), box_around(face)), t, f)
                for t, track in enumerate(self._tracks)
                for f, face in enumerate(faces)
            ),
            reverse=True,
        )
        if self.face_box == "whole":  # there is one face, wherever its points are
            pairs = [(1.0, 0, 0)] if self._tracks else []
        seen: dict[int, int] = {}
        for shared, t, f in pairs:
            if shared >= SAME_FACE_OVERLAP and t not in seen and f not in seen.values():
                seen[t] = f
        for t, track in enumerate(self._tracks):
            if t in seen:
                track.last, track.missed = faces[seen[t]], 0
            elif searched:
                track.missed += 1
        self._tracks = [track for track in self._tracks if track.missed <= MOST_MISSED]
        for f, face in enumerate(faces):
            if f not in seen.values():
                self._faces += 1
                smooth = None if self.smoothing is None else OneEuro(self.smoothing)
                self._tracks.append(_Track(self._faces, face, smooth))

    def _look_at(self, tracks: list[_Track], grey: NDArray[np.uint8]) -> None:
        """Find these faces again, each about its points of the frame before."""
        boxes = [box_around(track.last) for track in tracks]
        for track, face in zip(tracks, self.landmarker.look(grey, boxes), strict=True):
            gone = face.visible is not None and face.visible.mean() < FEWEST_VISIBLE
            if gone or overlap(box_around(face), face.box) < SAME_FACE_OVERLAP:
                self._tracks.remove(track)
            track.last = face

    def _smoothed(self, track: _Track, seconds: float) -> FaceKeypoints:
        if track.smooth is None:
            return track.last
        side = max(track.last.box[2:])
        return replace(track.last, keypoints=track.smooth(track.last.keypoints, seconds, side))
