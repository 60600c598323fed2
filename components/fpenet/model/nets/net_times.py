"""The trained net's own times: on the CPU as the judge calls it, and in every mode on a GPU.

What serves never runs torch; these rows say what exporting and quantising gave.
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
    """The net in FP32 on ``threads`` cores."""
    torch.set_num_threads(threads)
    return torch_predict(load_net(train_dir)[0])


def gpu_times(
    train_dir: Path, faces: NDArray[np.uint8], batches: Sequence[int], warmup: int, runs: int
) -> Iterator[tuple[int, bool, bool, NDArray[np.float64]]]:
    """Of the net in FP16: batch, with copies?, as a CUDA graph?, (runs,) milliseconds.

    Nothing without a GPU.
    """
    if not torch.cuda.is_available():
        return
    net = load_net(train_dir)[0].cuda().half().eval()
    for batch in batches:
        host = torch.from_numpy(np.resize(faces, (batch, *faces.shape[1:]))).pin_memory()
        crops = host.cuda()
        with torch.inference_mode():
            infer = partial(_infer, net, crops)
            replay, found = _captured(infer)
            for copies in (True, False):
                for graph in (False, True):
                    compute: Callable[[], object] = replay if graph else infer
                    call = partial(_with_copies, compute, host, crops, found) if copies else compute
                    yield batch, copies, graph, _times(call, warmup, runs)


def _infer(net: torch.nn.Module, crops: torch.Tensor) -> Points:
    points, confidence = net(crops.half())
    return points.float(), confidence.float()


def _with_copies(
    compute: Callable[[], object], host: torch.Tensor, crops: torch.Tensor, actual: Points
) -> None:
    crops.copy_(host, non_blocking=True)
    compute()
    for one in actual:
        one.cpu()


def _captured(infer: Callable[[], Points]) -> tuple[Callable[[], None], Points]:
    """A replay of ``infer`` as one CUDA graph, and where its results appear."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            infer()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = infer()
    return graph.replay, found


def _times(call: Callable[[], object], warmup: int, runs: int) -> NDArray[np.float64]:
    """Milliseconds between two events about each call."""
    times = []
    for run in range(-warmup, runs):
        began, ended = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        began.record()
        call()
        ended.record()
        ended.synchronize()
        if run >= 0:
            times.append(began.elapsed_time(ended))
    return np.array(times, float)
