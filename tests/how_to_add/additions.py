"""One throwaway instance for each row of "How to add" in CONTRIBUTING.md, as text."""

import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Addition:
    """What somebody writes to add one thing.

    Attributes:
        rows: (module, registry) -> code before the registry, and the row in it.
        files: path in the project -> text of a new file.
        params: line of params.yaml -> the lines to put after it.
    """

    rows: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)

    def write(self, project: Path) -> None:
        """Add it to the copy of the project.

        Raises:
            ValueError: the module has no such registry, or params.yaml no such line.
        """
        for (module, registry), (code, row) in self.rows.items():
            path = project / "components/fpenet" / module
            literal = rf"(^{registry}\b[^\n]*[{{(]\n.*?)(?=^[}})])"
            _insert(path, literal, rf"{code}\1{row}")
        for name, text in self.files.items():
            (project / name).write_text(text, encoding="utf-8")
        for line, added in self.params.items():
            _insert(project / "params.yaml", f"(^{re.escape(line)}.*?\n)", rf"\1{added}")


def _insert(path: Path, pattern: str, replacement: str) -> None:
    text = path.read_text(encoding="utf-8")
    text, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE | re.DOTALL)
    if count != 1:
        raise ValueError(f"{path}: {pattern} is not there")
    path.write_text(text, encoding="utf-8")


_READER = """
from collections.abc import Iterator

import numpy as np

from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace, finite_number
from fpenet.data.rejected import Refusal


def detects_dots(source: LabelSource) -> bool:
    return bool(source.files(".dots"))


def read_dots(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    for file in source.select("dots file", lambda file: True, ".dots"):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            name, *values = line.split()
            where = f"{file.name}, line {number}"
            try:
                numbers = [finite_number("a coordinate", value) for value in values]
                image = source.image(name, file)
            except Refusal as refusal:
                yield UnreadFace(name, where, refusal)
                continue
            points = np.array(numbers).reshape(-1, 2)
            yield LabelledFace(image, where, points, np.ones(len(points), bool))
"""
_RUNTIME = """
import numpy as np

from fpenet.deploy.engines.targets import Built


def build(network, target, precision, build):
    return Built(network.onnx.read_bytes(), "1.0")


def load_engine(engine, source, threads):
    x = float(engine)
    return lambda images: (np.full((len(images), 5, 2), x), np.ones((len(images), 5)))
"""
_STAGE = """
import json

from fpenet.provenance.manifest import read_manifest


def count_faces(*, crop_dir, crop, out_dir):
    faces = read_manifest(crop_dir).summary["faces"]
    (out_dir / "count.json").write_text(json.dumps(faces))
    return {"faces": faces, "store_px": crop.store_px}
"""

ADDITIONS = {
    "loss": Addition(
        {
            ("model/losses.py", "LOSSES"): (
                "def half(error, train):\n    return error / 2\n\n\n",
                '    "half": half,\n',
            )
        }
    ),
    "net": Addition(
        {
            ("model/nets/recombinator.py", "NETS"): (
                "",
                '    "tiny": NetSpec((8, 8), 8, (8,), stem=2, beta=1.0,'
                " learned_confidence=True),\n",
            )
        }
    ),
    "corruption": Addition(
        {
            ("kpi/robustness.py", "CORRUPTIONS"): (
                "def negative(store, rows, level, rng):\n"
                "    faces = clean(store, rows)\n"
                "    return replace(faces, images=255 - faces.images)\n\n\n",
                '    "negative": (negative, "1: the negative"),\n',
            )
        }
    ),
    "keypoint_scheme": Addition(
        {
            ("keypoints.py", "SCHEMES"): (
                "",
                '    4: KeypointScheme(4, {"all": _span(0, 4), "eyes": (0, 1)},'
                ' {"eyes": (0, 1), "face": (2, 3)}, (1, 0, 2, 3), (0, 1)),\n',
            )
        }
    ),
    "reader": Addition(
        {
            ("data/readers/__init__.py", "READERS"): (
                "from fpenet.data.readers.tools.dots import detects_dots, read_dots\n\n",
                '    "dots": Reader(detects_dots, read_dots, "dots (*.dots)"),\n',
            )
        },
        {"components/fpenet/data/readers/tools/dots.py": _READER},
    ),
    "data_check": Addition(
        {
            ("data/checks/labels.py", "LABEL_CHECKS"): (
                "def find_small(faces, params):\n"
                '    return flag(over(8.0 / faces.squares[:, 2], 1.0), lambda row: "small")\n\n\n',
                '    "small": LabelCheck(find_small),\n',
            ),
            ("data/checks/__init__.py", "SET_CHECKS"): (
                "def find_crowd(faces):\n"
                '    return Outcome({-1: "crowd"} if len(faces) > 1 else {})\n\n\n',
                '    "crowd": SetCheck(lambda e, p: find_crowd(e.faces)),\n',
            ),
        },
        params={"  severity:": "    small: drop\n    crowd: warn\n"},
    ),
    "calibration_method": Addition(
        {
            ("deploy/int8/histogram.py", "METHODS"): (
                "def half_of_largest(histogram, calibrate):\n"
                "    return histogram.largest / 2\n\n\n",
                '    "half": half_of_largest,\n',
            )
        }
    ),
    "gpu_target": Addition(
        {
            ("deploy/engines/targets.py", "TARGETS"): (
                "",
                '    "toy": _on_device("toy-pool", "Toy board", (8, 7), _ORIN),\n',
            )
        }
    ),
    "runtime": Addition(
        {
            ("deploy/engines/runtimes.py", "RUNTIMES"): (
                "from fpenet.deploy.engines import paper_engine\n\n",
                '    "paper": Runtime(paper_engine.build, paper_engine.load_engine, ".txt",'
                " needs_gpu=False),\n",
            ),
            ("deploy/engines/targets.py", "TARGETS"): (
                "",
                '    "sheet": GpuTarget("a sheet", None, "paper", (), 17, ("fp32",), (1, 8, 32),'
                ' "fpenet"),\n',
            ),
        },
        {"components/fpenet/deploy/engines/paper_engine.py": _RUNTIME},
    ),
    "kpi_metric": Addition(
        {
            ("kpi/metric_table.py", "ERRORS"): (
                "def worst_px(errors, norm):\n"
                "    return np.nan_to_num(errors.errors, nan=0.0).max(axis=1)\n\n\n",
                '    "worst_px": Metric(worst_px, per_face=True),\n',
            )
        }
    ),
    "normaliser": Addition(
        {
            ("kpi/normalisers.py", "NORMALISERS"): (
                "",
                '    "width": Normaliser(lambda shapes: shapes.box[:, 0],'
                ' lambda scheme: "width of the face box"),\n',
            )
        }
    ),
    "stage": Addition(
        {
            ("stages.py", "_ROWS"): (
                "",
                '    Stage("count", "fpenet.data.count:count_faces", ("crop",), ("crop",),'
                ' makes="Count the faces.", chapter="Data"),\n',
            )
        },
        {"components/fpenet/data/count.py": _STAGE},
    ),
}
"""Row of the table, with ``_`` for spaces -> what somebody writes for it."""
