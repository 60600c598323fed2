"""On a GPU: training throughput and latency, each beside what the device can do at best.

The best is a large bf16 matrix product, measured in the same run: a training step is reckoned as
three times the multiply-accumulates of the convolutions, an inference as once. Training is the
trainer's own step, from the rows of the resident faces to the moved average, replayed as one CUDA
graph. Inference is the net that ships, in half precision, replayed as one CUDA graph, as it is
written and through torch.compile, each convolution with its bias and ReLU one call of cuDNN unless
``--unfused``.

    python -m benchmarks.gpu [--crops DIR] [--compile] [--unfused] [--nets nano small large base]
        [--save]
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.nets import multiply_accumulates
from benchmarks.result_file import NothingToMeasure, run_benchmark
from benchmarks.training import embedded_crops
from fpenet.data.crops.store import CROP_PX, CropStore, open_crops
from fpenet.keypoints import scheme_for
from fpenet.model.checkpoint import fold
from fpenet.model.faces import open_faces
from fpenet.model.nets.recombinator import NETS, Recombinator, build_net
from fpenet.model.step import Stepper, start
from fpenet.params import load_params

MEASURES = (
    "fpenet.model.step",
    "fpenet.model.faces",
    "fpenet.model.checkpoint",
    "fpenet.model.nets.recombinator",
)
_MATRIX = 8192
_ROUNDS = 5
TRAINED_BATCHES = (64, 512)
BATCHES = (1, 8, 64, 256)
COMPILED_BATCHES = (1, 256)


def milliseconds(call: Callable[[], object], calls: int) -> float:
    """Of one call on the device: the median of rounds of ``calls``, each timed by its events."""
    times: list[float] = []
    for _ in range(_ROUNDS):
        began, ended = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        began.record()
        for _ in range(calls):
            call()
        ended.record()
        torch.cuda.synchronize()
        times.append(began.elapsed_time(ended) / calls)
    return statistics.median(times)


def ceiling() -> float:
    """Multiply-accumulates a second of a large bf16 matrix product on random numbers."""
    left, right = (torch.randn(_MATRIX, _MATRIX, device="cuda").bfloat16() for _ in range(2))
    milliseconds(lambda: left @ right, 5)
    return _MATRIX**3 / (milliseconds(lambda: left @ right, 10) / 1e3)


def training_rate(store: CropStore, net: str, batch: int, compiled: bool) -> float:
    """Faces a second of the trainer's step."""
    overrides = {"train.net": net, "train.batch_size": batch, "train.device": "cuda"}
    train = load_params(Path("params.yaml"), None, overrides).train
    faces = open_faces(store, "cuda")
    training = start(train, store.num_keypoints, "cuda")
    training.net.train()
    if compiled:
        torch.compiler.reset()  # what was compiled of other nets does not count against this one
        training.net.outputs = torch.compile(training.net.outputs)  # type: ignore[method-assign]
    stepper = Stepper(training, faces, scheme_for(store.num_keypoints), train)
    rows = torch.from_numpy(store.rows("train")).cuda()
    batches = [rows[torch.randint(len(rows), (batch,), device="cuda")] for _ in range(16)]
    step = 0

    def one() -> None:
        nonlocal step
        step += 1
        stepper.step(batches[step % len(batches)], 0.2)

    for _ in range(12):
        one()
    assert torch.isfinite(stepper.step(batches[0], 0.2)), "the loss is not finite"
    return batch / milliseconds(one, 20) * 1e3


class ConvRelu(nn.Module):
    """A convolution, its bias and ReLU in one call of cuDNN."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) half precision, channels last."""
        conv = self.conv
        assert not isinstance(conv.padding, str)
        return torch.cudnn_convolution_relu(
            images, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )


def fuse(net: nn.Module) -> None:
    """Replace each convolution and the ReLU behind it."""
    for name, module in net.named_children():
        match list(module.children()):
            case [nn.Conv2d() as conv, nn.ReLU()]:
                setattr(net, name, ConvRelu(conv))
            case _:
                fuse(module)


class Half(nn.Module):
    """The net that ships, its convolutions in half precision, the soft-argmax in FP32."""

    def __init__(self, net: Recombinator, fused: bool) -> None:
        super().__init__()
        if fused:
            fuse(net)
        self.net = net.half().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net.soft_argmax.float()

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 1, 80, 80) uint8 to points (N, K, 2) and confidence (N, K)."""
        points, confidence = self.net(crops.half())
        return points, confidence


def call_ms(
    net: str, keypoints: int, batch: int, compiled: bool, fused: bool
) -> tuple[float, float]:
    """Milliseconds of a replayed call from crops on the device; the worst point's px off FP32."""
    torch.manual_seed(0)
    fresh = build_net(net, keypoints, batch_norm=True).cuda()
    exact = fold(fresh, net, keypoints).cuda()
    half = Half(fold(fresh, net, keypoints).cuda(), fused)
    torch.compiler.reset()
    call = torch.compile(half) if compiled else half
    crops = torch.randint(256, (batch, 1, CROP_PX, CROP_PX), dtype=torch.uint8, device="cuda")
    with torch.inference_mode():
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(beside):
            for _ in range(3):
                call(crops)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            points, _ = call(crops)
        graph.replay()
        off = float((points.float() - exact(crops.float())[0]).abs().max())
        graph.replay()
        return milliseconds(graph.replay, max(20, 1000 // batch)), off


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, help="a folder of stage crop; else the embedded set")
    parser.add_argument("--compile", action="store_true", help="through torch.compile as well")
    parser.add_argument("--unfused", action="store_true", help="inference without joined calls")
    parser.add_argument("--nets", nargs="+", default=["nano", "small", "large", "base"])
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Time training and inference of each net; print both tables."""
    unknown = sorted(set(options.nets) - set(NETS))
    if unknown:
        raise SystemExit(f"--nets: {', '.join(unknown)}; known are {', '.join(NETS)}")
    if not torch.cuda.is_available():
        raise NothingToMeasure("no GPU on this machine")
    best = ceiling()
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    print(f"{torch.cuda.get_device_name()}, {versions};", end=" ")
    print(f"bf16 matrix product {2 * best / 1e12:.0f} TFLOP/s")
    if options.crops is None:
        store = embedded_crops(load_params(Path("params.yaml"), None, {}))
    else:
        store = open_crops(options.crops)
    keypoints = store.num_keypoints
    macs = {name: multiply_accumulates(build_net(name, keypoints)) for name in options.nets}
    print(f"\ntraining, K {keypoints}, whole step as one CUDA graph, bf16")
    print(f"{'net':<8}{'batch':>6}{'step':>10}{'faces/s':>12}{'of the matrix ceiling':>23}")
    for name in options.nets:
        for batch in TRAINED_BATCHES:
            for how in ways(options.compile):
                rate = training_rate(store, name, batch, how == "compiled")
                share = 3 * macs[name] * rate / best
                print(f"{name:<8}{batch:>6}{how:>10}{rate:>12,.0f}{share:>23.1%}", flush=True)
                torch.cuda.empty_cache()
    print(f"\ninference, K {keypoints}, one CUDA graph, fp16, crops on the device")
    print(f"{'net':<8}{'batch':>6}{'call':>10}{'ms':>9}{'faces/s':>12}", end="")
    print(f"{'of the ceiling':>16}{'px off fp32':>13}")
    for name in options.nets:
        for batch in BATCHES:
            for how in ways(options.compile and batch in COMPILED_BATCHES):
                ms, off = call_ms(name, keypoints, batch, how == "compiled", not options.unfused)
                share = macs[name] * batch / (ms / 1e3) / best
                print(
                    f"{name:<8}{batch:>6}{how:>10}{ms:>9.4f}{batch / ms * 1e3:>12,.0f}"
                    f"{share:>16.1%}{off:>13.4f}",
                    flush=True,
                )


def ways(compiled: bool) -> tuple[str, ...]:
    """How a net is run: as it is written, and through torch.compile."""
    return ("eager", "compiled") if compiled else ("eager",)


if __name__ == "__main__":
    main()
