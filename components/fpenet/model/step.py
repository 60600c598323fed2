"""One step of a training: sample a batch, update the weights, update their moving average.

Input: faces on the device, and the state of a run. Output: the loss of the step. A step does not
synchronise with the device, so that ``Stepper`` can replay it as one CUDA graph.
"""

import functools
import logging
import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from fpenet.core.errors import InputError
from fpenet.keypoints import KeypointScheme
from fpenet.model.augment import Batch, augment_batch, softened
from fpenet.model.distributed import BatchRng, rank, see_whole_batch, size, sum_gradients, summed
from fpenet.model.faces import TrainingFaces
from fpenet.model.nets.recombinator import GREY_LEVELS, Recombinator, build_net
from fpenet.model.targets import targets_of, training_loss
from fpenet.params import TrainParams

LOGGER = logging.getLogger(__name__)
_WARM_UPS = 3
"""Steps without a graph before a capture."""


@dataclass(frozen=True, slots=True)
class EpochSoFar:
    """State within an epoch that was stopped: steps done, their losses, state of the RNG."""

    steps: int
    losses: list[float]
    random: Tensor


@dataclass(slots=True)
class Training:
    """The state of a run: the content of a checkpoint, and the teacher.

    Attributes:
        rate, decay: () learning rate and decay of the moving average in the next step.
        parts: number of parts that a batch is split into when memory is too small.
    """

    net: Recombinator
    average: Recombinator
    optimizer: torch.optim.AdamW
    rate: Tensor
    decay: Tensor
    teacher: Recombinator | None = None
    parts: int = 1
    epoch: int = 0
    seconds: float = 0.0
    skipped: int = 0
    faces_seen: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    so_far: EpochSoFar | None = None


def start(train: TrainParams, num_keypoints: int, device: torch.device | str = "cpu") -> Training:
    """Initial state of a run; weight decay applies to matrices and kernels only."""
    net = build_net(train.net, num_keypoints, batch_norm=True)
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    see_whole_batch(net)
    average = build_net(train.net, num_keypoints, batch_norm=True).to(device)
    average.load_state_dict(net.state_dict())
    average.eval()  # not trained by gradients
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    rate = torch.zeros((), device=device)
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": train.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=rate,
        fused=True,
        capturable=rate.is_cuda,
    )
    return Training(net, average, optimizer, rate, torch.zeros((), device=device))


def learning_rate(done: float, train: TrainParams) -> float:
    """The learning rate at the fraction ``done`` of the run: linear warm-up, flat, half cosine."""
    if done < train.warmup_fraction:
        return train.learning_rate * done / train.warmup_fraction
    flat = min(train.warmup_fraction + train.flat_fraction, 1.0)
    rest = max(done - flat, 0.0) / max(1.0 - flat, 1e-9)
    span = train.learning_rate - train.min_learning_rate
    return train.min_learning_rate + span * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))


def strength(done: float, train: TrainParams) -> float:
    """The strength of the augmentation at the fraction ``done`` of the run."""
    return train.weak_strength if done > 1.0 - train.weak_fraction else 1.0


def sample_batch(
    faces: TrainingFaces,
    rows: Tensor,
    scheme: KeypointScheme,
    train: TrainParams,
    rng: BatchRng,
    strength: float = 1.0,
) -> Batch:
    """The faces ``rows`` (N,), augmented with ``strength`` times the limits of
    ``train.augment``."""
    crops, points, visible = faces.take(rows)
    augment = softened(train.augment, strength)
    batch = augment_batch(crops, points, visible, scheme, augment, rng)
    if train.elt_weight > 0:
        batch = replace(batch, plain=faces.center(crops))
    return batch


def take_step(
    training: Training, batch: Batch, scheme: KeypointScheme, train: TrainParams
) -> Tensor:
    """One optimiser step at ``training.rate``.

    Returns:
        (), the loss of the whole batch; NaN if the loss, its gradient or a statistic was not
        finite. In that case weights, average and statistics are not changed.
    """
    net = training.net
    images = batch.images.contiguous(memory_format=torch.channels_last) / GREY_LEVELS
    targets = targets_of(batch, training.average, training.teacher, scheme, train)
    buffers = [buffer for buffer in net.buffers() if buffer.is_floating_point()]
    before = _flat(buffers)
    training.optimizer.zero_grad(set_to_none=True)
    total = images.new_zeros(())
    size = -(-len(images) // training.parts)
    for first in range(0, len(images), size):
        part = slice(first, first + size)
        with torch.autocast(
            images.device.type, torch.bfloat16, _computes_bf16(images, train), cache_enabled=False
        ):
            output = net.outputs(images[part])
        loss = training_loss(output, targets.of(part), train)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    parameters = list(net.parameters())
    sum_gradients(parameters)
    norm = nn.utils.clip_grad_norm_(parameters, train.gradient_clip)
    total = summed(total)
    after = _flat(buffers)
    finite = torch.isfinite(total + norm + after.sum())
    buffer_values = torch.split(torch.where(finite, after, before), [b.numel() for b in buffers])
    with torch.no_grad():
        torch._foreach_copy_(
            buffers, [part.view_as(b) for part, b in zip(buffer_values, buffers, strict=True)]
        )
    # PyTorch's gradient scaler uses the same attribute: a step with found_inf changes nothing.
    training.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
    training.optimizer.step()
    _move_average(training, finite)
    return torch.where(finite, total, torch.nan)


@torch.no_grad()
def _move_average(training: Training, finite: Tensor) -> None:
    """Update the moving average of the weights by 1 - decay, if the step was finite."""
    weight = (1.0 - training.decay) * finite
    named = training.average.state_dict()
    pairs = [(named[n], v) for n, v in training.net.state_dict().items() if v.is_floating_point()]
    shadow, value = zip(*pairs, strict=True)
    # One kernel for all tensors: launching one per tensor would take most of the time on a GPU.
    change = torch._foreach_sub(value, shadow)
    torch._foreach_mul_(change, weight)
    torch._foreach_add_(shadow, change)


def _flat(tensors: list[Tensor]) -> Tensor:
    """A copy of all tensors as one vector."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _computes_bf16(images: Tensor, train: TrainParams) -> bool:
    """Whether to use bf16 autocast: by ``train.precision``, or if the device has bf16."""
    if images.is_cuda:
        return train.precision != "fp32"
    capabilities = torch.backends.cpu.get_cpu_capability()
    has_bf16 = "AMX" in capabilities or torch.cpu._is_avx512_bf16_supported()
    return train.precision == "bf16" or (train.precision == "auto" and has_bf16)


class Stepper:
    """Runs the steps of one training.

    If all faces are in GPU memory and one process trains, the whole step, from the rows to the
    moving average, is captured as a CUDA graph, once for each strength of the augmentation; the
    first steps run without a graph, as a capture requires. If GPU memory is too small for a batch,
    the batch is split into two parts; batch norm then uses the statistics of each part.

    Raises:
        InputError: the batch size is not a multiple of the number of processes, or two parts do not
            fit either.
    """

    def __init__(
        self, training: Training, faces: TrainingFaces, scheme: KeypointScheme, train: TrainParams
    ) -> None:
        if train.batch_size % size():
            raise InputError(
                f"train.batch_size is {train.batch_size}; {size()} processes share it, so it must"
                f" be a multiple of {size()}"
            )
        self.training, self.faces, self.scheme, self.train = training, faces, scheme, train
        device = faces.points.device
        self.rng = BatchRng(train.seed, device)
        self.share = train.batch_size // size()
        self._rows = torch.zeros(self.share, dtype=torch.int64, device=device)
        self._graphed = faces.resident and size() == 1
        self._graphs: dict[float, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._ran: dict[float, int] = {}

    def step(self, rows: Tensor, done: float) -> Tensor:
        """Train on the batch ``rows`` (batch_size,) at the fraction ``done`` of the run."""
        training = self.training
        training.rate.fill_(learning_rate(done, self.train))
        steps = training.faces_seen // self.train.batch_size + 1
        # A smaller decay in early steps: else the initial weights would dominate a short run.
        training.decay.fill_(min(self.train.ema_decay, (1 + steps) / (10 + steps)))
        self._rows.copy_(rows[rank() * self.share : (rank() + 1) * self.share])
        amount = strength(done, self.train)
        rng_state = self.rng.generator.get_state()
        loss = self._run_in_memory(amount)
        if loss is None:
            LOGGER.warning("out of GPU memory: each batch is split into two parts from now on")
            training.parts = 2
            self._graphs.clear()
            self._ran.clear()
            training.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            self.rng.generator.set_state(rng_state)
            loss = self._run_in_memory(amount)
            assert loss is not None
        training.faces_seen += self.train.batch_size
        return loss

    def _run_in_memory(self, amount: float) -> Tensor | None:
        """The loss of the step; None if memory is too small and the batch is not yet split."""
        try:
            return self._run(amount)
        except torch.OutOfMemoryError as error:
            if self.training.parts > 1 or size() > 1:
                raise InputError(
                    f"the GPU's memory is too small for train.batch_size {self.train.batch_size}"
                    f" in {self.training.parts} parts: {str(error).splitlines()[0]}"
                ) from None
        return None

    def _run(self, amount: float) -> Tensor:
        if not self._graphed:
            return self._step(amount)
        if amount in self._graphs:
            graph, loss = self._graphs[amount]
            graph.replay()
            return loss.clone()
        self._ran[amount] = self._ran.get(amount, 0) + 1
        if self._ran[amount] <= _WARM_UPS:
            stream = _side_stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                loss = self._step(amount)
            torch.cuda.current_stream().wait_stream(stream)
            return loss
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.rng.generator)
        with torch.cuda.graph(graph, stream=_side_stream()):
            loss = self._step(amount)
        self._graphs[amount] = graph, loss
        graph.replay()
        return loss.clone()

    def _step(self, amount: float) -> Tensor:
        batch = sample_batch(self.faces, self._rows, self.scheme, self.train, self.rng, amount)
        return take_step(self.training, batch, self.scheme, self.train)


@functools.cache
def _side_stream() -> torch.cuda.Stream:
    """The one stream for warm-ups and captures: each stream keeps 32 MiB for matrix products."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]
