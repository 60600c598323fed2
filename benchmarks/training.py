"""Training throughput: our loop against its own step on one cached batch, and against a plain loop.

The plain loop is what a first script does: a Dataset that augments one face at a time, a
DataLoader, fp32, the same net, loss and optimiser. Rounds alternate between the three, so that
other work on the machine hits all alike; the table gives medians in faces a second. ``--busy`` adds
processes that do nothing but count.

    python -m benchmarks.training [--nets small] [--rounds 5] [--steps 8] [--busy 0] [--save]
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.result_file import run_benchmark
from fpenet.data.crops.store import CropStore, open_crops
from fpenet.execution import cached_folder, run_stage
from fpenet.keypoints import KeypointScheme, scheme_for
from fpenet.model.augment import Batch
from fpenet.model.distributed import BatchRng
from fpenet.model.faces import open_faces
from fpenet.model.nets.recombinator import GREY_LEVELS, NetOutput, Recombinator, build_net
from fpenet.model.step import sample_batch, start, take_step
from fpenet.model.targets import targets_of, training_loss
from fpenet.model.train import freed_memory_kept
from fpenet.params import Params, TrainParams, load_params
from fpenet.stages import STAGES

MEASURES = ("fpenet.model.step", "fpenet.model.faces")


def embedded_crops(params: Params) -> CropStore:
    """The crop store of the labelled set of params.yaml, made where the flow keeps it."""
    folders: dict[str, Path] = {}
    for name in ("validate", "split", "crop"):
        inputs = {each: folders[each] for each in STAGES[name].inputs}
        folders[name] = cached_folder(Path("work"), name, inputs, params)
        run_stage(name, folders[name], inputs, params)
    return open_crops(folders["crop"])


class OneByOne(Dataset[tuple[torch.Tensor, ...]]):
    """Faces augmented one at a time, with the same augmentation."""

    def __init__(self, store: CropStore, scheme: KeypointScheme, train: TrainParams) -> None:
        self.faces, self.scheme, self.train = open_faces(store, "cpu"), scheme, train
        self.rows = torch.from_numpy(store.rows("train"))
        self.rng = BatchRng(0)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        rows = self.rows[index : index + 1]
        batch = sample_batch(self.faces, rows, self.scheme, self.train, self.rng)
        return batch.images[0], batch.points[0], batch.visible[0]


def plain_answer(net: Recombinator, images: torch.Tensor) -> NetOutput:
    """What the net says, by ordinary operations."""
    maps = net.maps(net.features(images))
    points, cells = net.soft_argmax(maps[:, : net.num_keypoints])
    logits = None
    if net.learned_confidence:
        logits = (cells * maps[:, net.num_keypoints :].flatten(2)).sum(dim=2)
    return NetOutput(points, logits, net.soft_argmax.marginals(cells))


def plain_steps(store: CropStore, scheme: KeypointScheme, train: TrainParams) -> Iterator[None]:
    """An endless plain training, a step an item."""
    net = build_net(train.net, scheme.num_keypoints, batch_norm=True).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=train.learning_rate)
    faces: Any = OneByOne(store, scheme, train)
    while True:
        for images, points, visible in DataLoader(faces, train.batch_size, drop_last=True):
            answer = plain_answer(net, images / GREY_LEVELS)
            wanted = targets_of(Batch(images, points, visible), net, None, scheme, train)
            loss = training_loss(answer, wanted, train)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run ``count`` other processes that count without end."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=["small"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--busy", type=int, default=0)
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Time each net; print the table."""
    base = load_params(Path("params.yaml"), None, {})
    store = embedded_crops(base)
    print(f"K {store.num_keypoints}, batch {base.train.batch_size}, {options.busy} busy processes,")
    print(f"{torch.get_num_threads()} threads\n")
    print("| net | one cached batch | fpenet | plain DataLoader, fp32", end="")
    print(" | of the cached step | of the plain loop |\n" + "|---" * 6 + "|")
    with busy_processes(options.busy):
        for net in options.nets:
            train = load_params(Path("params.yaml"), None, {"train.net": net}).train
            cached, ours, plain = rates(store, train, options.rounds, options.steps)
            print(f"| {net} | {cached:.1f}/s | {ours:.1f}/s | {plain:.1f}/s", end="")
            print(f" | {ours / cached:.2f} | {ours / plain:.2f} |", flush=True)


def rates(
    store: CropStore, train: TrainParams, rounds: int, steps: int
) -> tuple[float, float, float]:
    """Median faces a second of one cached batch, of the trainer's step and of the plain loop."""
    scheme = scheme_for(store.num_keypoints)
    rows, chance = torch.from_numpy(store.rows("train")), BatchRng(0)
    faces = open_faces(store, "cpu")
    training = start(train, scheme.num_keypoints)
    training.rate.fill_(1e-4)
    training.net.train()
    drawn = 0

    def draw() -> Batch:
        nonlocal drawn
        drawn = (drawn + train.batch_size) % (len(rows) - train.batch_size)
        return sample_batch(faces, rows[drawn : drawn + train.batch_size], scheme, train, chance)

    cached, plain_step = draw(), plain_steps(store, scheme, train).__next__
    loops: list[Callable[[], object]] = [
        lambda: float(take_step(training, cached, scheme, train)),
        lambda: float(take_step(training, draw(), scheme, train)),
        plain_step,
    ]
    found: list[list[float]] = [[] for _ in loops]
    for number in range(rounds + 1):  # the first round warms up
        for step, seen in zip(loops, found, strict=True):
            with nullcontext() if step is plain_step else freed_memory_kept():
                step()
                began = time.perf_counter()
                for _ in range(steps):
                    step()
                seconds = time.perf_counter() - began
            if number:
                seen.append(steps * train.batch_size / seconds)
    cached_rate, ours, plain = (statistics.median(each) for each in found)
    return cached_rate, ours, plain


if __name__ == "__main__":
    main()
