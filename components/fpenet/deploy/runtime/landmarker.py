"""Landmarker: a bundle or an ONNX file as a function from an image to keypoints in its pixels.

Input: an image and its face box. Does: the same crop as in training, the engine, and the inverse of
the crop. Output: keypoints in image pixels with their confidence. Needs no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpenet.core.errors import InputError
from fpenet.data.crops.geometry import cut, face_crop_box
from fpenet.data.images import read_grey
from fpenet.deploy.bundle.bundle_model import MODEL, BundleModel
from fpenet.deploy.engines.device_fit import misfit, this_machine
from fpenet.deploy.engines.onnxruntime_engine import load_engine, read_metadata
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import Pending
from fpenet.deploy.onnx.onnx_file import refuse_external_data
from fpenet.deploy.runtime.face_detection import FaceBox, detect_faces
from fpenet.kpi.confidence import VISIBLE_FROM
from fpenet.kpi.predictions import Predict
from fpenet.provenance.checksums import DEFAULT_TRUST, Trusted, read_signed, verify_checksums


@dataclass(frozen=True, slots=True)
class FaceKeypoints:
    """One face of an image.

    Attributes:
        box: (x, y, width, height) of the face, image pixels.
        keypoints: (K, 2) image pixels, x right, y down, pixel centres at integers.
        confidence: (K,), 0 to 1: for a net with learned confidence the probability that the
            keypoint is visible and correctly placed, else the largest probability of a heat-map
            cell.
        visible: (K,) whether each keypoint is predicted as visible; None where the net predicts no
            visibility.
    """

    box: FaceBox
    keypoints: NDArray[np.float64]
    confidence: NDArray[np.float32]
    visible: NDArray[np.bool_] | None = None

    def to_json(self) -> dict[str, Any]:
        """The face as JSON values, coordinates rounded to 0.001 pixels."""
        return {
            "box": list(self.box),
            "keypoints": np.round(self.keypoints, 3).tolist(),
            "confidence": np.round(self.confidence.astype(np.float64), 5).tolist(),
            "visible": None if self.visible is None else self.visible.tolist(),
        }


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The metadata of the model of a landmarker.

    Attributes:
        box_scale: side of the crop divided by the longer side of the face box.
        confidence: ``learned``, ``peak``, or empty where the file has no such metadata.
    """

    name: str
    num_keypoints: int
    box_scale: float
    confidence: str


class Landmarker:
    """The engine of a bundle folder, or of one ONNX file, ready to run.

    Args:
        path: the folder of one target in a bundle, or an ONNX file with its signature file in the
            same folder. Signature and digests are checked before a file is parsed.
        precision: precision of an engine of the bundle; None: the default engine.
        threads: threads of the CPU; 0: all cores.
        trusted: a public key or a folder of public keys, of which one must have signed; ``anyone``:
            no signature needed. Default: the public keys in ``.keys/`` of the working directory.

    Raises:
        InputError: a file is refused, or the engine cannot run here; the message names the file and
            the reason.
    """

    def __init__(
        self,
        path: Path | str,
        precision: str | None = None,
        threads: int = 0,
        trusted: Trusted = DEFAULT_TRUST,
    ) -> None:
        path = Path(path)
        if path.is_dir():
            self.model, self._predict = _open_bundle(path, precision, threads, trusted)
        else:
            self.model, self._predict = _open_file(path, threads, trusted)
        self.num_keypoints = self.model.num_keypoints
        self.box_scale = self.model.box_scale

    def predict(
        self, crops: NDArray[np.uint8]
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
        """Keypoints of face crops.

        Args:
            crops: (N, 1, 80, 80) uint8 grey levels.

        Returns:
            (N, K, 2) pixels of the crops, and (N, K) confidence.
        """
        if crops.ndim != 4 or crops.shape[1:] != (1, 80, 80) or crops.dtype != np.uint8:
            raise InputError(
                f"crops are {crops.dtype} {crops.shape}; they must be uint8 (N, 1, 80, 80)"
            )
        return self._predict(crops)

    def keypoints(
        self,
        image: Path | str | NDArray[np.uint8],
        face_box: FaceBox | Literal["whole", "detect"] = "detect",
    ) -> list[FaceKeypoints]:
        """Keypoints of the faces in one image.

        Args:
            image: an image file, turned by its EXIF orientation; or (H, W) grey or (H, W, 3) RGB,
                uint8.
            face_box: tight box (x, y, width, height) in image pixels; ``whole``: the whole image is
                the face; ``detect``: detect all faces (extra ``detect``) and predict each a second
                time in the box of its first points.

        Returns:
            the faces, the largest first; empty where no face was detected.

        Raises:
            InputError: the image or the box is refused; the message names it and the reason.
        """
        grey = grey_levels(image)
        height, width = grey.shape
        if face_box == "detect":
            boxes = detect_faces(grey)
        elif face_box == "whole":
            boxes = [(-0.5, -0.5, float(width), float(height))]
        elif isinstance(face_box, str):
            raise InputError(
                f"face_box is {face_box!r}; it must be four numbers, 'whole' or 'detect'"
            )
        else:
            x, y, box_width, box_height = checked_box(face_box)
            if not (x < width and y < height and x + box_width > 0 and y + box_height > 0):
                raise InputError(f"face box {face_box}: it is outside the {width}x{height} image")
            boxes = [face_box]
        faces = self.keypoints_in(grey, boxes, 1.0 if face_box == "whole" else self.box_scale)
        if face_box == "detect":  # second prediction in the box of the points, as in training
            near = [i for i, face in enumerate(faces) if overlap(box_around(face), face.box) > 0.4]
            second = self.keypoints_in(grey, [box_around(faces[i]) for i in near], self.box_scale)
            for i, face in zip(near, second, strict=True):
                faces[i] = face
        return faces

    def keypoints_in(
        self, grey: NDArray[np.uint8], boxes: Sequence[FaceBox], scale: float | None = None
    ) -> list[FaceKeypoints]:
        """The keypoints of the faces in ``boxes`` of a grey image (H, W).

        Args:
            scale: side of a crop divided by the longer side of its box; None: the model's
                ``box_scale``.
        """
        if not boxes:
            return []
        scale = self.box_scale if scale is None else scale
        rounded = np.array(
            boxes, np.float32
        ).tolist()  # as in Triton and ONNX, whose boxes are FP32
        crops = [face_crop_box((x, y, width, height), scale) for x, y, width, height in rounded]
        points, confidences = self.predict(np.stack([cut(grey, crop, 80)[None] for crop in crops]))
        predicts_visible = self.model.confidence == "learned"
        return [
            FaceKeypoints(
                box,
                crop.to_image(face_points.astype(np.float64)),
                confidence.astype(np.float32),
                confidence >= VISIBLE_FROM if predicts_visible else None,
            )
            for box, crop, face_points, confidence in zip(
                boxes, crops, points, confidences, strict=True
            )
        ]


def box_around(face: FaceKeypoints) -> FaceBox:
    """The tight box of the keypoints, image pixels."""
    (left, top), (right, bottom) = face.keypoints.min(axis=0), face.keypoints.max(axis=0)
    return float(left), float(top), float(right - left), float(bottom - top)


def overlap(box: FaceBox, reference: FaceBox) -> float:
    """Intersection over union of two boxes."""
    width = min(box[0] + box[2], reference[0] + reference[2]) - max(box[0], reference[0])
    height = min(box[1] + box[3], reference[1] + reference[3]) - max(box[1], reference[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (box[2] * box[3] + reference[2] * reference[3] - shared)


def checked_box(box: FaceBox) -> FaceBox:
    """The box of a caller.

    Raises:
        InputError: it has no area.
    """
    if not (np.isfinite(box).all() and box[2] > 0 and box[3] > 0):
        raise InputError(f"face box {box}: width and height must be positive and finite")
    return box


def grey_levels(image: Path | str | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) grey levels of a file or an array.

    Raises:
        InputError: the file is no image, or the array has another type or shape.
    """
    if isinstance(image, (str, Path)):
        try:
            return read_grey(Path(image), turn=True)
        except InputError as error:
            raise InputError(f"{image}: {error}") from None
    if image.dtype == np.uint8 and image.size and image.ndim == 2:
        return image
    if image.dtype == np.uint8 and image.size and image.ndim == 3 and image.shape[2] == 3:
        return np.asarray(Image.fromarray(image).convert("L"))  # as for files
    raise InputError(
        f"the image is {image.dtype} {image.shape}; it must be uint8 (H, W) or (H, W, 3)"
    )


def _open_bundle(
    folder: Path, precision: str | None, threads: int, trusted: Trusted
) -> tuple[ModelInfo, Predict]:
    checksums = verify_checksums(folder, trusted)
    model = BundleModel.parse(checksums.read(MODEL), folder / MODEL)
    precision = precision or model.default
    engine = model.engine(precision)
    if engine is None:
        precisions = sorted(row.precision for row in model.engines)
        raise InputError(f"{folder}: no {precision} engine; it has {precisions}")
    if engine.file is None:
        raise InputError(f"{folder}: its {precision} engine is not built yet; run its build.sh")
    path, data = folder / engine.file, checksums.read(engine.file)
    unfit = misfit(model.built_for(engine), this_machine(model.runtime))
    if unfit is not None:
        raise InputError(f"{path}: {unfit}")
    predict = RUNTIMES[model.runtime].load(data, str(path), threads)
    if isinstance(predict, Pending):
        raise InputError(f"{path}: {predict.reason}")
    return ModelInfo(model.name, model.num_keypoints, model.box_scale, model.confidence), predict


def _open_file(path: Path, threads: int, trusted: Trusted) -> tuple[ModelInfo, Predict]:
    network, _ = read_signed(path, trusted)
    refuse_external_data(network, str(path))
    metadata: dict[str, Any] = dict(read_metadata(network, str(path)))
    missing = [key for key in ("num_keypoints", "box_scale") if key not in metadata]
    if missing:
        raise InputError(
            f"{path}: its metadata has no {' and no '.join(missing)}; it is not a model of fpenet"
        )
    model = ModelInfo(
        str(metadata.get("name") or "model"),
        int(metadata["num_keypoints"]),
        float(metadata["box_scale"]),
        str(metadata.get("confidence", "")),
    )
    return model, load_engine(network, str(path), threads)
