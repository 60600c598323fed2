"""Multi-PIE's plan: who is photographed when, by which camera and light; the names of the files."""

from dataclasses import dataclass

from components.data.synthetic.chance import Draws

KPI_SUBJECTS = (*range(79, 85), *range(164, 170), *range(250, 256), *range(342, 347))
LAST_SUBJECT = 346
MOST_FACES_PER_SUBJECT = 400
"""Of 2,200 distinct photographs; few enough that drawing them without repeats is quick."""

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
    "04_1": (30.0, 0.0, 12),
    "13_0": (-30.0, 0.0, 12),
    "19_0": (45.0, 0.0, 7),
    "08_0": (-45.0, 0.0, 7),
    "20_0": (60.0, 0.0, 2),
    "09_0": (-60.0, 0.0, 2),
    "19_1": (45.0, 25.0, 2),
    "08_1": (-45.0, 25.0, 2),
}
"""Camera -> (yaw, height) in degrees and its share in percent. The four at 75 and 90 degrees see
too few of the 104 points to be drawn.
"""


@dataclass(frozen=True, slots=True)
class Photograph:
    """What a Multi-PIE file name says."""

    subject: int
    session: int
    recording: int
    camera: str
    illumination: int

    def path(self) -> str:
        """The image's path below the data set's root."""
        subject, session, recording = (
            f"{self.subject:03d}",
            f"{self.session:02d}",
            f"{self.recording:02d}",
        )
        digits = self.camera.replace("_", "")
        name = f"{subject}_{session}_{recording}_{digits}_{self.illumination:02d}.png"
        return f"data/session{session}/multiview/{subject}/{recording}/{self.camera}/{name}"


def draw_subjects(seed: int, count: int) -> list[int]:
    """``count`` ids out of 1..346 that are no KPI subject's, ascending."""
    free = [number for number in range(1, LAST_SUBJECT + 1) if number not in KPI_SUBJECTS]
    if not 0 <= count <= len(free):
        raise ValueError(f"subjects is {count}; choose 0 to {len(free)} beside the KPI subjects")
    draw = Draws(seed, 21)
    return sorted(free.pop(draw.index(len(free))) for _ in range(count))


def draw_photographs(seed: int, subject: int, count: int) -> list[Photograph]:
    """``count`` different photographs of ``subject``, by path."""
    draw = Draws(seed, 22, subject)
    takes = [*RECORDINGS]
    cameras = [name for name, (_, _, share) in CAMERAS.items() for _ in range(share)]
    chosen: set[Photograph] = set()
    while len(chosen) < count:
        session, recording = takes[draw.index(len(takes))]
        camera = cameras[draw.index(len(cameras))]
        chosen.add(Photograph(subject, session, recording, camera, draw.index(20)))
    return sorted(chosen, key=Photograph.path)
