"""``README.txt`` of a bundle: its files, and how to use them."""

from fpenet.deploy.bundle.bundle_model import BundleModel
from fpenet.deploy.engines.engine_table import EngineStatus
from fpenet.deploy.engines.runtimes import RUNTIMES

_CONFIDENCE = {
    "learned": "probability that the point is visible and correctly placed",
    "peak": "largest probability of each heat map",
}


_NOT_EXECUTED = (
    "Engines marked 'built, not judged' or 'pending' were not executed when this bundle was made.",
    "Measure their error on your device before you use them.",
)


def readme(model: BundleModel) -> str:
    """The text for a bundle's ``model.json``."""
    engines = []
    for engine in model.engines:
        latency = next((timing for timing in engine.latency if timing.batch_size == 1), None)
        place = engine.file or "run build.sh on the device"
        line = f"  {engine.precision}: {engine.status.words}, {place}"
        if (error := (engine.metrics or {}).get("crop_px/all")) is not None:
            line += f", mean error {error:.2f} px of the crop"
        if latency:
            line += f", {latency.p50_ms:.2f} ms per face ({latency.threads} threads, p50)"
        engines.append(line)
    keypoints, scale, size = model.num_keypoints, model.box_scale, model.crop_px
    runtime = f"{model.runtime} {model.runtime_version}"
    lines = [
        f"fpenet {model.version}: {keypoints} face keypoints, for {model.device}, {runtime}",
        f"Signed by: {model.signed_by}",
        "",
        "Engines",
        *engines,
        *(
            _NOT_EXECUTED
            if any(engine.status is not EngineStatus.READY for engine in model.engines)
            else ()
        ),
        "",
        "Input",
        f"  {model.input.name}: float32 (N, 1, {size}, {size}), grey levels 0 to 255.",
        f"  Take the square about the centre of the face box, {scale} times its longer side, and",
        f"  resize it to {size} x {size} with an anti-aliased filter and half-pixel centres.",
        "  Outside the image, repeat its edge. Grey is ITU-R 601: 0.299 R + 0.587 G + 0.114 B.",
        "",
        "Outputs",
        f"  keypoints: float32 (N, {keypoints}, 2), x right and y down in pixels of the crop,",
        "  pixel centres at integers. In the image: (u - 39.5) * side / 80 + centre.",
        f"  confidence: float32 (N, {keypoints}), {_CONFIDENCE[model.confidence]}.",
        "",
        "Files",
        "  SHA256SUMS   check with: sha256sum -c SHA256SUMS; signed in SHA256SUMS.sig",
        "  model.json   the same information, for programs",
        "  preprocess.onnx  from an image and face boxes to the input",
        "  place.onnx   from points in crops to points in the image",
        "  golden.npz   rendered crops and their points: fpenet check THIS-FOLDER",
    ]
    if RUNTIMES[model.runtime].triton:
        lines.append("  triton/      model repository; the model fpenet takes an image and boxes")
    if RUNTIMES[model.runtime].deepstream:
        lines.append(
            "  deepstream/  nvinfer.txt, nvdspreprocess.txt and fpenet_points.py for probes"
        )
    if any(engine.status is EngineStatus.PENDING for engine in model.engines):
        lines.append("  build.sh     checks the checksums and builds the engines with trtexec")
    if RUNTIMES[model.runtime].in_python:
        lines += ["", 'In Python: fpenet.Landmarker("this folder").keypoints(image)']
    return "\n".join(lines) + "\n"
