"""How the steps of a training are run: one by one; on a GPU as replays of one CUDA graph.

Input: rows of the faces, and how far the run is. Output: the loss of each step, on the device.
"""

import functools
import logging

import torch
from torch import Tensor

from components.keypoints import KeypointScheme
from components.model.chance import Chance
from components.model.faces import Faces
from components.model.ranks import rank, size
from components.model.step import Training, draw_batch, learning_rate, strength, take_step
from components.params import TrainParams

LOGGER = logging.getLogger(__name__)
_WARM_UPS = 3


class Stepper:
    """Runs the steps of one training.

    The whole step, from the rows to the moved average, is captured once for each strength of the
    augmentation, where all faces lie on a GPU and one process trains. Its first steps run as they
    are, which a capture needs. When a GPU's memory is too small for a batch, it is answered in two
    parts: the same batch, but the batch norm of a part sees that part alone.

    Raises:
        ValueError: the batch cannot be shared by the processes, or two parts do not fit either.
    """

    def __init__(
        self, training: Training, faces: Faces, scheme: KeypointScheme, train: TrainParams
    ) -> None:
        if train.batch_size % size():
            raise ValueError(
                f"train.batch_size is {train.batch_size}; {size()} processes share it, so it must"
                f" be a multiple of {size()}"
            )
        self.training, self.faces, self.scheme, self.train = training, faces, scheme, train
        device = faces.points.device
        self.chance = Chance(train.seed, device)
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
                raise ValueError(
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
        batch = draw_batch(self.faces, self._rows, self.scheme, self.train, self.chance, amount)
        return take_step(self.training, batch, self.scheme, self.train)


@functools.cache
def _beside() -> torch.cuda.Stream:
    """The one stream of warm-ups and captures: each stream keeps 32 MiB for matrix products."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]
