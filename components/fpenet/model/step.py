"""One step of a training: sample a batch, update the weights, update their moving average.

Input: faces on the device, and the state of a run. Output: the loss of the step. Nothing in a step
waits for the device, so that ``Stepper`` can replay a whole step as one CUDA graph.
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
from fpenet.model.targets import objective, targets_of
from fpenet.params import TrainParams

LOGGER = logging.getLogger(__name__)
_WARM_UPS = 3
"""Steps that run as they are before a capture."""


@dataclass(frozen=True, slots=True)
class EpochSoFar:
    """Where a run was stopped within an epoch: steps done, their losses, the chance to come."""

    steps: int
    losses: list[float]
    random: Tensor


@dataclass(slots=True)
class Training:
    """The state of a run: what a checkpoint holds, and the teacher.

    Attributes:
        rate, decay: () of the step to come: of learning, and of forgetting in the average.
        parts: a batch is answered in so many parts, for want of memory.
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
    """Fresh weights, and an optimiser that decays matrices and kernels only."""
    net = build_net(train.net, num_keypoints, batch_norm=True)
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    see_whole_batch(net)
    average = build_net(train.net, num_keypoints, batch_norm=True).to(device)
    average.load_state_dict(net.state_dict())
    average.eval()  # it is never trained itself
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
    """The rate at the fraction ``done`` of the run: linear warm-up, flat, then a half cosine."""
    if done < train.warmup_fraction:
        return train.learning_rate * done / train.warmup_fraction
    flat = min(train.warmup_fraction + train.flat_fraction, 1.0)
    rest = max(done - flat, 0.0) / max(1.0 - flat, 1e-9)
    span = train.learning_rate - train.min_learning_rate
    return train.min_learning_rate + span * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))


def strength(done: float, train: TrainParams) -> float:
    """Of the augmentation, at the fraction ``done`` of the run."""
    return train.weak_strength if done > 1.0 - train.weak_fraction else 1.0


def sample_batch(
    faces: TrainingFaces,
    rows: Tensor,
    scheme: KeypointScheme,
    train: TrainParams,
    rng: BatchRng,
    strength: float = 1.0,
) -> Batch:
    """Views of the faces in ``rows`` (N,), augmented with that much of the augmentation."""
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
        (), the loss of the whole batch; NaN where it, its gradient or a statistic was not finite:
        then the weights, their average and the statistics stay as they were.
    """
    net = training.net
    images = batch.images.contiguous(memory_format=torch.channels_last) / GREY_LEVELS
    wanted = targets_of(batch, training.average, training.teacher, scheme, train)
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
            answer = net.answer(images[part])
        loss = objective(answer, wanted.of(part), train)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    parameters = list(net.parameters())
    sum_gradients(parameters)
    norm = nn.utils.clip_grad_norm_(parameters, train.gradient_clip)
    total = summed(total)
    after = _flat(buffers)
    finite = torch.isfinite(total + norm + after.sum())
    kept = torch.split(torch.where(finite, after, before), [b.numel() for b in buffers])
    with torch.no_grad():
        torch._foreach_copy_(
            buffers, [part.view_as(b) for part, b in zip(kept, buffers, strict=True)]
        )
    # As the gradient scaler of PyTorch tells the optimiser: a step with this set changes nothing.
    training.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
    training.optimizer.step()
    _move_average(training, finite)
    return torch.where(finite, total, torch.nan)


@torch.no_grad()
def _move_average(training: Training, finite: Tensor) -> None:
    """Move the average towards the net by 1 - decay, if the step was finite."""
    weight = (1.0 - training.decay) * finite
    named = training.average.state_dict()
    pairs = [(named[n], v) for n, v in training.net.state_dict().items() if v.is_floating_point()]
    shadow, value = zip(*pairs, strict=True)
    # One kernel for all tensors, where a GPU would spend most of the time on launching many.
    change = torch._foreach_sub(value, shadow)
    torch._foreach_mul_(change, weight)
    torch._foreach_add_(shadow, change)


def _flat(tensors: list[Tensor]) -> Tensor:
    """A copy of all numbers in one row."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _computes_bf16(images: Tensor, train: TrainParams) -> bool:
    """Whether to autocast: asked for, or the device computes in bf16."""
    if images.is_cuda:
        return train.precision != "fp32"
    capabilities = torch.backends.cpu.get_cpu_capability()
    has_bf16 = "AMX" in capabilities or torch.cpu._is_avx512_bf16_supported()
    return train.precision == "bf16" or (train.precision == "auto" and has_bf16)


class Stepper:
    """Runs the steps of one training.

    The whole step, from the rows to the moved average, is captured once for each strength of the
    augmentation, where all faces lie on a GPU and one process trains. Its first steps run as they
    are, which a capture needs. When a GPU's memory is too small for a batch, it is answered in two
    parts: the same batch, but the batch norm of a part sees that part alone.

    Raises:
        InputError: the batch cannot be shared by the processes, or two parts do not fit either.
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
        self.chance = BatchRng(train.seed, device)
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
        # A young average forgets faster, or the first weights would outlive a short run.
        training.decay.fill_(min(self.train.ema_decay, (1 + steps) / (10 + steps)))
        self._rows.copy_(rows[rank() * self.share : (rank() + 1) * self.share])
        amount = strength(done, self.train)
        before = self.chance.generator.get_state()
        loss = self._tried(amount)
        if loss is None:
            LOGGER.warning("out of GPU memory: each batch is answered in two parts from now on")
            training.parts = 2
            self._graphs.clear()
            self._ran.clear()
            training.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            self.chance.generator.set_state(before)
            loss = self._tried(amount)
            assert loss is not None
        training.faces_seen += self.train.batch_size
        return loss

    def _tried(self, amount: float) -> Tensor | None:
        """The loss; None where memory is too small and the batch is still whole."""
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
            beside = _beside()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                loss = self._step(amount)
            torch.cuda.current_stream().wait_stream(beside)
            return loss
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.chance.generator)
        with torch.cuda.graph(graph, stream=_beside()):
            loss = self._step(amount)
        self._graphs[amount] = graph, loss
        graph.replay()
        return loss.clone()

    def _step(self, amount: float) -> Tensor:
        batch = sample_batch(self.faces, self._rows, self.scheme, self.train, self.chance, amount)
        return take_step(self.training, batch, self.scheme, self.train)


@functools.cache
def _beside() -> torch.cuda.Stream:
    """The one stream of warm-ups and captures: each stream keeps 32 MiB for matrix products."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]
