"""What validation finds: mistakes are seeded in a labelled set, and it must name the seeded faces.

Each round seeds every kind of mistake in its own 1 % of the faces, several at once, as in life:
left and right swapped (of the whole face, of the eyes alone), all points shifted (the face box with
them, so that nothing but the picture tells). A false alarm is a face that nothing was done to and
that the checks ``swapped`` or ``shifted`` name; ``any finding`` counts all checks, and so the set's
own mistakes too.

    python -m benchmarks.validation_finds [LABELS] [--rounds 5] [--outliers sheet.png] [--save]
"""

import argparse
import dataclasses
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.result_file import run_benchmark
from fpenet.data.checks import LABEL_CHECKS
from fpenet.data.checks.faces import Indices, LabelledFaces, labelled_faces
from fpenet.data.overlay import PICTURE_PX, draw_face
from fpenet.data.readers import LabelledSet, read_labels
from fpenet.data.validation.run_checks import image_features, run_checks, run_face_checks, suspicion
from fpenet.keypoints import scheme_for
from fpenet.params import Params, load_params

MEASURES = ("fpenet.data.validation.run_checks",)
SHARE = 0.01
SHIFTS = (0.10, 0.15, 0.20)
_COLUMNS = 10


def seed(
    faces: LabelledFaces, random: np.random.Generator
) -> tuple[LabelledFaces, dict[str, Indices]]:
    """Faces with mistakes, and which faces have which."""
    scheme = scheme_for(faces.points.shape[1])
    kinds = [*(f"all points shifted by {100 * size:.0f} %" for size in SHIFTS)]
    if scheme.flip_map is not None:
        kinds = ["left and right swapped", "left and right of the eyes swapped", *kinds]
    count = max(1, round(SHARE * len(faces)))
    order = random.permutation(len(faces))
    rows = {kind: order[k * count : (k + 1) * count] for k, kind in enumerate(kinds)}
    points, boxes = faces.points.copy(), faces.boxes.copy()
    for kind, chosen in rows.items():
        if "swapped" in kind:
            region = np.array(scheme.regions["eyes" if "eyes" in kind else "all"])
            flip = np.array(scheme.flip_map)
            points[np.ix_(chosen, region)] = points[np.ix_(chosen, flip[region])]
        else:
            angle = random.uniform(0, 2 * np.pi, len(chosen))
            size = float(kind.split()[-2]) / 100 * faces.squares[chosen, 2]
            moved = size[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            points[chosen] += moved[:, None]
            boxes[chosen, :2] += moved
    return dataclasses.replace(faces, points=points, boxes=boxes), rows


def judge(labelled: LabelledSet, params: Params, rounds: int) -> None:
    """Print the table."""
    faces = labelled_faces(labelled.samples)
    wrong = {
        r for check in LABEL_CHECKS.values() for r in check.find(faces, params.validate_).details
    }
    faces = faces.take(np.array([row for row in range(len(faces)) if row not in wrong]))
    turns = {sample.image: sample.turn for sample in labelled.samples}
    found: dict[str, list[int]] = {}
    seeded: dict[str, int] = {}
    for number in range(rounds):
        changed, rows = seed(faces, np.random.default_rng(number))
        sifted = run_face_checks(
            changed,
            params.validate_,
            lambda f: image_features(labelled.root, f, params.validate_, turns),
        )
        named = {
            name: {one.face for one in sifted.findings if one.check in checks and one.face >= 0}
            for name, checks in (
                ("swapped", {"swapped"}),
                ("shifted", {"shifted"}),
                ("either", {"swapped", "shifted"}),
                ("any", set(sifted.outcomes) - {"repeated"}),
            )
        }
        groups = {kind: {int(row) for row in chosen} for kind, chosen in rows.items()}
        groups["nothing (false alarms)"] = set(range(len(faces))).difference(*groups.values())
        for kind, group in groups.items():
            hits = [len(named[name] & group) for name in named]
            found[kind] = [a + b for a, b in zip(found.get(kind, [0] * 4), hits, strict=True)]
            seeded[kind] = seeded.get(kind, 0) + len(group)
    limits = params.validate_.models
    print(
        f"{len(faces)} faces, K {faces.points.shape[1]}, {rounds} rounds; numpy {np.__version__},"
    )
    print(f"pillow {version('pillow')}; limits: swap gain {limits.min_swap_gain}, shift", end=" ")
    print(f"{limits.max_shift}, deviations {limits.max_shape_deviations} of the shape and", end=" ")
    print(f"{limits.max_picture_deviations} of the picture")
    heads = ("swapped", "shifted", "either", "any finding")
    print(f"{'done to the face':<36}{'faces':>7}" + "".join(f"{head:>13}" for head in heads))
    for kind, hits in found.items():
        shares = "".join(f"{100 * hit / seeded[kind]:>11.2f} %" for hit in hits)
        print(f"{kind:<36}{seeded[kind]:>7}{shares}")


def draw_outliers(labelled: LabelledSet, params: Params, count: int, path: Path) -> None:
    """A contact sheet of the most suspicious faces, worst first."""
    sifted = run_checks(labelled.samples, labelled.root, params.validate_)
    total = suspicion(sifted.scores)
    rows = np.argsort(-total, kind="stable")[:count]
    sheet = Image.new("RGB", (_COLUMNS * PICTURE_PX, -(-len(rows) // _COLUMNS) * PICTURE_PX))
    for place, row in enumerate(rows):
        picture = draw_face(labelled.samples[row], labelled.root)
        ImageDraw.Draw(picture).text((3, 3), f"{place + 1}: {total[row]:.2f}", fill="#ffffff")
        y, x = divmod(place, _COLUMNS)
        sheet.paste(picture, (x * PICTURE_PX, y * PICTURE_PX))
    sheet.save(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Seed, judge, print; or draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", nargs="?", default="data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--outliers", type=Path, help="write a contact sheet instead")
    parser.add_argument("--top", type=int, default=100)
    run_benchmark(parser, measure, arguments)


def measure(options: argparse.Namespace) -> None:
    """Seed and judge, or draw the most suspicious faces."""
    params = load_params(Path("params.yaml"), None, {"data.labels": options.labels})
    labelled = read_labels(Path(options.labels), params.data)
    if options.outliers:
        draw_outliers(labelled, params, options.top, options.outliers)
    else:
        judge(labelled, params, options.rounds)


if __name__ == "__main__":
    main()
