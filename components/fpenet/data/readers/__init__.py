"""Read labels of any known format as FaceSamples: one module per format, common parts here.

Input: ``data.labels``. Does: detects the format, reads every face, determines the number of
keypoints of the set, adds the columns of CSV files, reads the header of each image. Output: one
LabelledSet; each face that could not be used is in ``rejected`` with file, row and reason.

``tools/`` has the exports of labelling tools, ``general/`` the formats of many tools, ``datasets/``
public data sets as they are downloaded.
"""

# Libraries judged and not taken: datumaro 1.13 reads keypoints of CVAT and of COCO files named
# person_keypoints_*, and of no other format here (not COCO-WholeBody, LabelMe's JSON, Label Studio,
# YOLO-pose, imglab, VIA, pts); supervision 0.31 reads boxes and masks of data sets, no keypoints.

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.images import ImageHeader, read_header, turn_of
from fpenet.data.readers.datasets.aflw2000 import detects_aflw2000, read_aflw2000
from fpenet.data.readers.datasets.celeba import detects_celeba, read_celeba
from fpenet.data.readers.datasets.landmark_text import (
    detects_landmark_text,
    read_landmark_text,
)
from fpenet.data.readers.datasets.multi_pie import detects_multi_pie, read_multi_pie
from fpenet.data.readers.datasets.wflw import detects_wflw, read_wflw
from fpenet.data.readers.general.coco import detects_coco, read_coco
from fpenet.data.readers.general.pixel_table import detects_pixel_table, read_pixel_table
from fpenet.data.readers.general.pts import detects_pts, read_pts_set
from fpenet.data.readers.general.table import detects_table, read_table_set
from fpenet.data.readers.general.yolo_pose import detects_yolo_pose, read_yolo_pose
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, LabelledSet, UnreadFace
from fpenet.data.readers.no_format import name_unread_format
from fpenet.data.readers.samples import SampleMaker, keypoints_of, origins_of, subject_pattern
from fpenet.data.readers.sidecar import (
    dataset_name,
    folder_name,
    image_columns,
    own_scheme,
    scheme_file,
)
from fpenet.data.readers.split_folders import with_folder_parts
from fpenet.data.readers.tools.cvat import detects_cvat, read_cvat
from fpenet.data.readers.tools.imglab import detects_imglab, read_imglab
from fpenet.data.readers.tools.label_studio import detects_label_studio, read_label_studio
from fpenet.data.readers.tools.labelme import detects_labelme, read_labelme
from fpenet.data.readers.tools.sloth import detects_sloth, read_sloth
from fpenet.data.readers.tools.via import detects_via, read_via
from fpenet.data.rejected import Refusal, Rejected
from fpenet.data.sample import FaceSample
from fpenet.params import DataParams

__all__ = ["READERS", "LabelledSet", "find_format", "read_labels", "source_of_labels"]

_REPORT_EVERY = 2048


@dataclass(frozen=True, slots=True)
class Reader:
    """One format.

    Attributes:
        detects: whether the set is of this format; opens only what it needs.
        read: returns the faces.
        files: description of the files of the format, for messages.
    """

    detects: Callable[[LabelSource], bool]
    read: Callable[[LabelSource], Iterator[LabelledFace | UnreadFace]]
    files: str


def source_of_labels(labels: Path, data: DataParams) -> LabelSource:
    """The set at ``labels``, a folder or a label file, as readers take it.

    Raises:
        InputError: no such labels, or ``data.images`` is no folder.
    """
    return LabelSource(
        labels,
        images=data.images,
        follow_links=data.follow_links,
        keypoints=None if data.keypoints == "auto" else data.keypoints,
        columns=data.columns,
    )


def read_labels(labels: Path, data: DataParams) -> LabelledSet:
    """Read the labelled set at ``labels``, a folder or a label file.

    Raises:
        InputError: the labels are missing or of an unknown format, there is no face, or a sidecar
            file is broken.
    """
    pattern = subject_pattern(data.subject_pattern)
    source = source_of_labels(labels, data)
    format_name = find_format(source) if data.format == "auto" else data.format
    source.skipped.clear()  # what another format refused may be a label file of this one
    faces = list(READERS[format_name].read(source))
    columns = image_columns(source)
    num_keypoints = keypoints_of(source, faces, data.keypoints)
    maker = SampleMaker(
        source, data, num_keypoints, columns, pattern, Counter(), Counter(), Counter()
    )
    contested = source.search.contested()
    samples: list[FaceSample] = []
    rejected: list[Rejected] = []
    headers: dict[str, ImageHeader | Refusal] = {}
    turns: dict[str, bool | None] = {}
    for number, face in enumerate(faces):
        try:
            if isinstance(face, UnreadFace):
                raise face.refusal
            if face.image in contested:
                raise contested[face.image]
            header = _header_once(source.root, face.image, headers)
            turn = turn_of(source.root / face.image, header, face.labelled_size, face.shown_upright)
            if turns.setdefault(face.image, turn) is not turn:
                raise Refusal(
                    "image rotated", "its faces were labelled on differently turned images"
                )
            samples.append(maker.make(face, header.upright_size if turn else header.size, turn))
        except Refusal as refusal:
            detail = f"{face.where}: {refusal.detail}"
            rejected.append(Rejected(face.image, number, refusal.reason, detail, refusal.broken))
        if number % _REPORT_EVERY == 0 or number + 1 == len(faces):
            report(number + 1, len(faces), "labels")
    samples, split_from = with_folder_parts(samples)
    scheme, file = own_scheme(source, num_keypoints), scheme_file(source)
    return LabelledSet(
        _name_of(source, format_name) if data.name == "auto" else data.name,
        source.root,
        num_keypoints,
        samples,
        rejected,
        scheme,
        origins_of(format_name, maker, samples, scheme, file.name if file else None, split_from),
    )


def find_format(source: LabelSource) -> str:
    """The format of a labelled set: the first of ``READERS`` that detects it.

    Raises:
        InputError: no reader detects it; the message names the formats, a format that is known but
            not read, and the files that could not be read.
    """
    for name, reader in READERS.items():
        if reader.detects(source):
            return name
    known = "; ".join(f"{name}: {reader.files}" for name, reader in READERS.items())
    raise InputError(
        f"data.labels: {source.labels} has no labels of a known format"
        f" ({known}){name_unread_format(source)}{source.describe_skipped()}"
    )


def _name_of(source: LabelSource, format_name: str) -> str:
    """The name in dataset.json, else of the format, else of the folder."""
    stated = dataset_name(source.folder) or dataset_name(source.root)
    if stated or format_name == "multi_pie":
        return stated or format_name
    is_above = source.folder.is_relative_to(source.root)
    return folder_name(source.root if is_above else source.folder)


def _header_once(root: Path, image: str, headers: dict[str, ImageHeader | Refusal]) -> ImageHeader:
    if image not in headers:
        try:
            headers[image] = read_header(root / image)
        except Refusal as refusal:
            headers[image] = refusal
    header = headers[image]
    if isinstance(header, Refusal):
        raise header
    return header


READERS: dict[str, Reader] = {
    "multi_pie": Reader(detects_multi_pie, read_multi_pie, "a Multi-PIE tree (session<SS>)"),
    "coco": Reader(detects_coco, read_coco, "a COCO file (*.json, an object)"),
    "label_studio": Reader(detects_label_studio, read_label_studio, "tasks (*.json, a list)"),
    "labelme": Reader(detects_labelme, read_labelme, "LabelMe or X-AnyLabeling (*.json, shapes)"),
    "via": Reader(detects_via, read_via, "VGG Image Annotator 2 (*.json, *.csv)"),
    "cvat": Reader(detects_cvat, read_cvat, "CVAT for images (*.xml)"),
    "imglab": Reader(detects_imglab, read_imglab, "dlib's imglab (*.xml)"),
    "sloth": Reader(detects_sloth, read_sloth, "Sloth or TAO labels (*.json, a list)"),
    "pixel_table": Reader(
        detects_pixel_table, read_pixel_table, "a table with pixels in a column Image (*.csv)"
    ),
    "table": Reader(detects_table, read_table_set, "a table with x1 and y1 (*.csv, *.parquet)"),
    "wflw": Reader(detects_wflw, read_wflw, "a WFLW list (list_98pt*.txt)"),
    "yolo_pose": Reader(detects_yolo_pose, read_yolo_pose, "data.yaml with kpt_shape"),
    "celeba": Reader(detects_celeba, read_celeba, "a CelebA list (list_landmarks*.txt)"),
    "aflw2000": Reader(detects_aflw2000, read_aflw2000, "AFLW2000 or 300W-LP (*.mat)"),
    "pts": Reader(detects_pts, read_pts_set, "300-W files (*.pts)"),
    "landmark_text": Reader(
        detects_landmark_text, read_landmark_text, "Helen, LaPa or JD-106 (*.txt, a face each)"
    ),
}
"""Format -> how it is detected and read, in the order of detection."""
