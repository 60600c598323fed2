"""Inference times of the trained net in PyTorch: on the CPU, and in all modes on a GPU.

Deployment does not use PyTorch; these times show the gain of the exported and quantised engines.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fpenet.kpi.predictions import Predict
from fpenet.model.checkpoint import load_net
from fpenet.model.evaluate import torch_predict

Points = tuple[torch.Tensor, torch.Tensor]


def cpu_predict(train_dir: Path, threads: int) -> Predict:
    """A predict function of the net in FP32 on ``threads`` CPU threads."""
    torch.set_num_threads(threads)
    return torch_predict(load_net(train_dir)[0])


def gpu_times(
    train_dir: Path, faces: NDArray[np.uint8], batches: Sequence[int], warmup: int, runs: int
) -> Iterator[tuple[int, bool, bool, NDArray[np.float64]]]:
    """Times of the net in FP16.

    Yields:
        batch size, whether with copies, whether as a CUDA graph, (runs,) milliseconds; nothing
        without a GPU.
    """
    if not torch.cuda.is_available():
        return
    net = load_net(train_dir)[0].cuda().half().eval()
    for batch in batches:
        host = torch.from_numpy(np.resize(faces, (batch, *faces.shape[1:]))).pin_memory()
        crops = host.cuda()
        with torch.inference_mode():
            infer = partial(_infer, net, crops)
            replay, outputs = _captured(infer)
            for copies in (True, False):
                for graph in (False, True):
                    compute: Callable[[], object] = replay if graph else infer
                    call = (
                        partial(_with_copies, compute, host, crops, outputs) if copies else compute
                    )
                    yield batch, copies, graph, _times(call, warmup, runs)


def _infer(net: torch.nn.Module, crops: torch.Tensor) -> Points:
    points, confidence = net(crops.half())
    return points.float(), confidence.float()


def _with_copies(
    compute: Callable[[], object], host: torch.Tensor, crops: torch.Tensor, outputs: Points
) -> None:
    crops.copy_(host, non_blocking=True)
    compute()
    for output in outputs:
        output.cpu()


def _captured(infer: Callable[[], Points]) -> tuple[Callable[[], None], Points]:
    """A function that replays ``infer`` as a CUDA graph, and the tensors of its results."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            infer()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = infer()
    return graph.replay, outputs


def _times(call: Callable[[], object], warmup: int, runs: int) -> NDArray[np.float64]:
    """Milliseconds of each call, between two CUDA events."""
    times = []
    for run in range(-warmup, runs):
        start, end = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        start.record()
        call()
        end.record()
        end.synchronize()
        if run >= 0:
            times.append(start.elapsed_time(end))
    return np.array(times, float)
