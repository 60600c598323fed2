"""Spread between groups of subjects: the largest error of a group over the smallest, by attribute.

Input: the metric table, the slices and the resamples of the evaluation faces. Does: for each
attribute that describes subjects (age, sex, skin tone, ...), the ratio of the largest to the
smallest slice error, with the interval of the ratio of these two groups. Output: one row per
attribute, n/a with a reason where fewer than two groups have enough faces.

The two groups are chosen by their errors on the same faces. With more than two groups the interval
is therefore too favourable to a difference; an interval that contains 1 shows none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpenet.kpi.bootstrap import Interval, Resamples
from fpenet.kpi.metric_table import MetricTable, finite
from fpenet.kpi.slices.slice_faces import MEASURED, Slices

SUBJECT_ATTRIBUTES = (
    "age",
    "age_group",
    "sex",
    "gender",
    "ethnicity",
    "race",
    "skin",
    "skin_tone",
    "skin_type",
    "fitzpatrick",
)
"""Attributes that always describe subjects; see ``describes_subjects`` for others."""


@dataclass(frozen=True, slots=True)
class GroupSpread:
    """The headline NME of the worst group of subjects over that of the best, of one attribute.

    Attributes:
        groups: number of groups with enough faces and subjects.
        largest, smallest: the groups with the largest and the smallest error.
        ratio: the error of ``largest`` over that of ``smallest``, at least 1; None: n/a.
        interval: of the ratio of these two groups.
        why: why there is no ratio; None if there is one.
    """

    attribute: str
    groups: int
    largest: str | None
    smallest: str | None
    ratio: float | None
    interval: Interval | None
    why: str | None


def describes_subjects(
    attribute: str, values: Mapping[str, NDArray[np.int64]], subjects: Sequence[str]
) -> bool:
    """Whether an attribute describes the subjects and not the images.

    True for SUBJECT_ATTRIBUTES, and for an attribute of which no subject has two values, if most
    subjects have several faces with a value; never for what is measured on the face (MEASURED).

    Args:
        values: value -> the faces that have it.
        subjects: the subject of each face.

    >>> faces = {"dark": np.array([0, 1]), "light": np.array([2, 3])}
    >>> describes_subjects("hair", faces, ["a", "a", "b", "b"])
    True
    >>> describes_subjects("hair", faces, ["a", "b", "a", "b"])
    False
    """
    if attribute.lower() in SUBJECT_ATTRIBUTES:
        return True
    if attribute in MEASURED:
        return False
    per_subject: dict[str, list[str]] = {}
    for value, faces in values.items():
        for face in faces:
            per_subject.setdefault(subjects[face], []).append(value)
    several = [own for own in per_subject.values() if len(own) > 1]
    constant = all(len(set(own)) == 1 for own in several)
    return constant and 2 * len(several) > len(per_subject)


def group_spreads(
    table: MetricTable,
    metric: str,
    sliced: Slices,
    too_few: Mapping[tuple[str, str], str | None],
    subjects: Sequence[str],
    resamples: Resamples,
) -> tuple[GroupSpread, ...]:
    """One row per attribute that describes subjects, in the order of the slices.

    Args:
        table: the evaluation faces; has ``metric``.
        too_few: attribute and value -> why the slice has no numbers; None if it has.
        subjects: the subject of each face.
    """
    chosen = table.chosen(lambda name: name == metric)
    rows = []
    for attribute, values in sliced.slices.items():
        if describes_subjects(attribute, values, subjects):
            groups = {v: faces for v, faces in values.items() if not too_few[attribute, v]}
            rows.append(_spread(chosen, metric, attribute, groups, len(values), resamples))
    for attribute, why in sliced.left_out.items():
        if attribute.lower() in SUBJECT_ATTRIBUTES:
            rows.append(GroupSpread(attribute, 0, None, None, None, None, why))
    return tuple(rows)


def _spread(
    table: MetricTable,
    metric: str,
    attribute: str,
    groups: Mapping[str, NDArray[np.int64]],
    num_values: int,
    resamples: Resamples,
) -> GroupSpread:
    errors = {value: finite(table.rows(faces).means())[metric] for value, faces in groups.items()}
    known = {value: error for value, error in errors.items() if error is not None}
    if len(known) < 2:
        why = f"{len(known)} of {num_values} groups with enough faces and an error; needs 2"
        return GroupSpread(attribute, len(known), None, None, None, None, why)
    largest, smallest = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    if not known[smallest] > 0:
        why = f"the error of {smallest} is 0"
        return GroupSpread(attribute, len(known), largest, smallest, None, None, why)
    return GroupSpread(
        attribute,
        len(known),
        largest,
        smallest,
        known[largest] / known[smallest],
        resamples.ratios(table, groups[largest], groups[smallest])[metric],
        None,
    )
