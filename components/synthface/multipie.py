"""Multi-PIE's layout: subjects, sessions, recordings, cameras, illuminations and file names."""

from collections.abc import Sequence
from dataclasses import dataclass

from synthface.rng import SeededRng

KPI_SUBJECTS = (*range(79, 85), *range(164, 170), *range(250, 256), *range(342, 347))
LAST_SUBJECT = 346
FIRST_YEAR = 2004
"""Year in which Multi-PIE's recordings began (docs/fpenet.md); converts ages to birth years."""
LIGHTS = 20

RECORDINGS: dict[tuple[int, int], str] = {
    (1, 1): "neutral",
    (1, 2): "smile",
    (2, 1): "neutral",
    (2, 2): "surprise",
    (2, 3): "squint",
    (3, 1): "neutral",
    (3, 2): "smile",
    (3, 3): "disgust",
    (4, 1): "neutral",
    (4, 2): "neutral",
    (4, 3): "scream",
}
"""(session, recording) -> expression."""

CAMERAS: dict[str, tuple[float, float, int]] = {
    "05_1": (0.0, 0.0, 26),
    "05_0": (15.0, 0.0, 14),
    "14_0": (-15.0, 0.0, 14),
    "04_1": (30.0, 0.0, 10),
    "13_0": (-30.0, 0.0, 10),
    "19_0": (45.0, 0.0, 5),
    "08_0": (-45.0, 0.0, 5),
    "19_1": (45.0, 25.0, 2),
    "08_1": (-45.0, 25.0, 2),
    "20_0": (60.0, 0.0, 2),
    "09_0": (-60.0, 0.0, 2),
    "01_0": (75.0, 0.0, 2),
    "12_0": (-75.0, 0.0, 2),
    "24_0": (90.0, 0.0, 2),
    "11_0": (-90.0, 0.0, 2),
}
"""Camera -> (yaw, height) in degrees and its share in percent."""
PROFILES = tuple(name for name, (yaw, _, _) in CAMERAS.items() if abs(yaw) >= 60)
"""The six cameras whose labels have 39 points."""
CAMERA_GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(CAMERAS),
    "near-frontal": tuple(name for name in CAMERAS if name not in PROFILES),
    "profile": PROFILES,
}
VIEWS = CAMERA_GROUPS | {name: (name,) for name in CAMERAS}
"""Allowed names of ``synth.views`` -> cameras: groups of cameras, and each single camera."""

_HALF = (
    *range(9),
    *range(17, 22),
    *range(27, 34),
    *range(36, 42),
    *range(48, 52),
    *range(57, 63),
    66,
    67,
)
"""The 39 of the 68 keypoints on the left of the image and on the midline."""
_MIRRORED_HALF = tuple(
    {
        **{k: 16 - k for k in range(9)},
        **{k: 43 - k for k in range(17, 22)},
        **{k: k for k in range(27, 31)},
        **{k: 66 - k for k in range(31, 34)},
        **{36: 45, 37: 44, 38: 43, 39: 42, 40: 47, 41: 46},
        **{k: 102 - k for k in range(48, 52)},
        **{k: 114 - k for k in range(57, 60)},
        **{k: 124 - k for k in range(60, 63)},
        **{66: 66, 67: 65},
    }[k]
    for k in _HALF
)
"""The mirror partner of each keypoint of ``_HALF``."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """The fields of a Multi-PIE file name."""

    subject: int
    session: int
    recording: int
    camera: str
    illumination: int

    @property
    def capture(self) -> str:
        """Subject, session, recording and camera, which the 20 images of a capture share."""
        digits = self.camera.replace("_", "")
        return f"{self.subject:03d}_{self.session:02d}_{self.recording:02d}_{digits}"

    def path(self) -> str:
        """The image's path below the data set's root."""
        folder = f"{self.subject:03d}/{self.recording:02d}/{self.camera}"
        name = f"{self.capture}_{self.illumination:02d}.png"
        return f"data/session{self.session:02d}/multiview/{folder}/{name}"

    def label_path(self) -> str:
        """Path of the capture's ``_lm.mat``, if this photograph is the labelled image."""
        name = f"{self.capture}_{self.illumination:02d}_lm.mat"
        return f"MPie_Labels/labels/{self.camera.replace('_', '')}/{name}"


def cameras_of(views: Sequence[str]) -> list[str]:
    """The cameras of ``views`` without repetition, in the order of ``CAMERAS``.

    Raises:
        ValueError: an unknown view, or no view.
    """
    unknown = [name for name in views if name not in VIEWS]
    if unknown or not views:
        value = unknown[0] if unknown else "empty"
        raise ValueError(f"views is {value}; it must be one or more of {', '.join(VIEWS)}")
    chosen = {camera for name in views for camera in VIEWS[name]}
    return [camera for camera in CAMERAS if camera in chosen]


def labelled_keypoints(camera: str) -> Sequence[int]:
    """The 0-based indices (of the 68 keypoints) of the points in a ``_lm.mat`` of this camera.

    A profile has the 39 points of the visible half and the midline: jaw 9, brow 5, nose 7, eye 6,
    mouth 12, in the order of the 68. A profile of the right half has their mirror partners.
    """
    if camera not in PROFILES:
        return range(68)
    if CAMERAS[camera][0] > 0:
        return _HALF
    return _MIRRORED_HALF


def sample_subjects(seed: int, count: int) -> list[int]:
    """``count`` random ids of 1..346 without the KPI subjects, ascending.

    Raises:
        ValueError: ``count`` is out of range.
    """
    free = [number for number in range(1, LAST_SUBJECT + 1) if number not in KPI_SUBJECTS]
    if not 0 <= count <= len(free):
        raise ValueError(
            f"subjects is {count}; it must be 0 to {len(free)}, without the KPI subjects"
        )
    rng = SeededRng(seed, 21)
    return sorted(free.pop(rng.index(len(free))) for _ in range(count))


def sample_photographs(
    seed: int, subject: int, count: int, views: Sequence[str] = ("all",)
) -> list[Photograph]:
    """``count`` different photographs of ``subject``, sorted by path.

    The probability of a camera is its share in ``CAMERAS``.

    Raises:
        ValueError: ``count`` is larger than the number of photographs.
    """
    cameras = cameras_of(views)
    most = len(RECORDINGS) * LIGHTS * len(cameras)
    if not 1 <= count <= most:
        raise ValueError(
            f"faces_per_subject is {count}; it must be 1 to {most}"
            f" ({len(cameras)} of {len(CAMERAS)} cameras)"
        )
    rng = SeededRng(seed, 22, subject)
    shots = [(*recording, light) for recording in RECORDINGS for light in range(LIGHTS)]
    free = {camera: list(shots) for camera in cameras}
    weighted = [camera for camera in cameras for _ in range(CAMERAS[camera][2])]
    chosen = []
    for _ in range(count):
        camera = weighted[rng.index(len(weighted))]
        session, recording, light = free[camera].pop(rng.index(len(free[camera])))
        chosen.append(Photograph(subject, session, recording, camera, light))
        if not free[camera]:
            weighted = [name for name in weighted if name != camera]
    return sorted(chosen, key=Photograph.path)
