"""The nets in one table: parameters, multiply-accumulates, and a face's time on one CPU core.

Weights are fresh: how long a face takes does not depend on them. Each net goes through the stages
export and calibrate; its FP32 and INT8 networks are timed in turn, in rounds, so that other work
on the machine hits all alike; the table gives medians, and INT8 as a share of ``base``.

    python -m benchmarks.nets [--keypoints 68] [--rounds 5] [--save]
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from torch import nn

from benchmarks.result_file import run_benchmark
from benchmarks.training import embedded_crops
from fpenet.data.crops.store import CROP_PX
from fpenet.deploy.benchmark.benchmark import time_calls
from fpenet.deploy.engines.onnxruntime_engine import open_engine
from fpenet.deploy.int8.calibrate import calibrate_ranges
from fpenet.deploy.onnx.export import export_onnx
from fpenet.kpi.evaluate import Predict
from fpenet.model.checkpoint import fold, save_net
from fpenet.model.nets.net_description import NetDescription
from fpenet.model.nets.recombinator import NETS, Recombinator, build_net
from fpenet.params import Params, load_params

MEASURES = (
    "fpenet.model.nets.recombinator",
    "fpenet.deploy.onnx.export",
    "fpenet.deploy.int8.calibrate",
    "fpenet.deploy.engines.onnxruntime_engine",
)
_CALLS = 60


def multiply_accumulates(net: Recombinator) -> int:
    """Of all convolutions, for one face."""
    total = 0

    def count(module: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        weight = module.weight
        if isinstance(module, nn.ConvTranspose2d):  # stride 2, kernel 2: one tap an output pixel
            total += output.numel() * module.in_channels
        else:
            total += output.numel() * weight[0].numel()

    hooks = [
        module.register_forward_hook(count)
        for module in net.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    with torch.inference_mode():
        net(torch.zeros(1, 1, CROP_PX, CROP_PX))
    for hook in hooks:
        hook.remove()
    return total


def networks(net: Recombinator, name: str, keypoints: int, params: Params, folder: Path) -> None:
    """Write the FP32 and the INT8 network below ``folder``."""
    for stage in ("train", "export", "calibrate"):
        (folder / stage).mkdir(parents=True)
    about = NetDescription(name, keypoints, dataset="synthetic", box_scale=1.2)
    save_net(net, about, folder / "train")
    export_onnx(train_dir=folder / "train", export=params.export, out_dir=folder / "export")
    calibrate_ranges(
        crop_dir=folder / "crop",
        export_dir=folder / "export",
        calibrate=params.calibrate,
        out_dir=folder / "calibrate",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keypoints", type=int, default=68)
    parser.add_argument("--rounds", type=int, default=5)
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Export, calibrate and time each net; print the table."""
    quick = {"calibrate.faces": 16, "calibrate.method": "minmax", "calibrate.draws": 0}
    params = load_params(Path("params.yaml"), None, {"export.opsets": [17], **quick})
    store = embedded_crops(params)
    faces = store.images(store.rows(store.judged_part)[:_CALLS])
    crop_dir = Path(str(store.crops.filename)).parent  # type: ignore[attr-defined]
    engines: dict[tuple[str, str], Predict] = {}
    sizes: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in NETS:
            torch.manual_seed(0)
            net = fold(build_net(name, options.keypoints, batch_norm=True), name, options.keypoints)
            sizes[name] = sum(p.numel() for p in net.parameters()), multiply_accumulates(net)
            folder = Path(scratch) / name
            folder.mkdir()
            (folder / "crop").symlink_to(crop_dir.resolve())
            networks(net, name, options.keypoints, params, folder)
            for precision, stage in (("fp32", "export"), ("int8_cpu", "calibrate")):
                path = folder / stage / "opset17" / f"{precision}.onnx"
                engines[name, precision] = open_engine(path, threads=1)
        times: dict[tuple[str, str], list[float]] = {key: [] for key in engines}
        for _ in range(options.rounds):
            for key, engine in engines.items():
                times[key].append(statistics.median(time_calls(engine, faces, 1, 10, _CALLS)))
    median = {key: statistics.median(found) for key, found in times.items()}
    print(f"{options.keypoints} keypoints, batch 1, one core, ONNX Runtime")
    print(f"{'net':>10}{'parameters':>12}{'GMAC':>8}{'fp32':>11}{'int8':>11}{'of base':>9}")
    for name, (parameters, macs) in sizes.items():
        fp32, int8 = median[name, "fp32"], median[name, "int8_cpu"]
        print(
            f"{name:>10}{parameters:>12,}{macs / 1e9:>8.3f}{fp32:>8.2f} ms{int8:>8.2f} ms"
            f"{int8 / median['base', 'int8_cpu']:>9.0%}"
        )


if __name__ == "__main__":
    main()
