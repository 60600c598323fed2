"""One optimiser step on small problems: loss, clipping, decay, average, and what is not finite."""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from fpenet.keypoints import scheme_for
from fpenet.model.augment import Batch, augment_batch, softened
from fpenet.model.checkpoint import fold
from fpenet.model.distributed import BatchRng
from fpenet.model.faces import TrainingFaces
from fpenet.model.step import Training, sample_batch, start, take_step
from fpenet.model.targets import targets_of, training_loss
from fpenet.params import Params, TrainParams

pytestmark = pytest.mark.usefixtures("one_thread")
CENTER = 39.5  # of the crop, where a flat heat map points
PLAIN = {
    "train.net": "nano",
    "train.loss": "l1",
    "train.heatmap_weight": 0.0,
    "train.confidence_weight": 0.0,
    "train.weight_decay": 0.0,
    "train.gradient_clip": 1e9,
    "train.ema_decay": 0.0,
    "train.precision": "fp32",
}
Load = Callable[..., TrainParams]


@pytest.fixture
def train(params_with: Callable[..., Params]) -> Load:
    """A loss that is L1 alone, and an Adam that neither decays nor clips, but for the settings."""

    def load(**settings: object) -> TrainParams:
        changed = {f"train.{key}": value for key, value in settings.items()}
        return params_with(PLAIN | changed).train

    return load


def batch_of(points: Tensor, visible: Tensor | None = None) -> Batch:
    """Grey noise with the labels ``points`` (N, K, 2)."""
    generator = torch.Generator().manual_seed(8)
    images = torch.rand(len(points), 1, 80, 80, generator=generator) * 255
    return Batch(
        images, points, torch.ones(points.shape[:2]).bool() if visible is None else visible
    )


def started(train: TrainParams, num_keypoints: int, rate: float = 0.0) -> Training:
    """A training from one seed, whose next step has ``rate``."""
    torch.manual_seed(5)
    training = start(train, num_keypoints)
    training.rate.fill_(rate)
    return training


def flat(training: Training) -> Training:
    """With a net whose heat maps are flat, so that each of its points is the crop's centre."""
    with torch.no_grad():
        training.net.heatmaps.weight.zero_()
        assert training.net.heatmaps.bias is not None
        training.net.heatmaps.bias.zero_()
    return training


def weights(training: Training) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in training.net.named_parameters()}


def state(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def floats(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in values.items() if value.is_floating_point()}


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize(
    ("mask_hidden", "loss"),
    [(True, 2.0), (False, (2.0 * 3 + 10.0) / 4)],
)
def test_a_hidden_point_counts_in_the_loss_only_where_it_is_not_masked(
    mask_hidden: bool, loss: float, train: Load
) -> None:
    points = torch.full((2, 2, 2), CENTER)
    points[..., 0] += 4.0  # 4 px across and 0 px down: an error of 2 px in the mean
    points[1, 1] = CENTER + 10.0
    visible = torch.tensor([[True, True], [True, False]])
    settings = train(mask_hidden=mask_hidden)
    training = flat(started(settings, 2))
    value = take_step(training, batch_of(points, visible), scheme_for(2), settings)
    assert value.item() == pytest.approx(loss, abs=1e-3)


@pytest.mark.parametrize("mask_hidden", [True, False])
def test_a_wrong_label_of_a_hidden_point_moves_the_net_only_where_it_is_not_masked(
    mask_hidden: bool, train: Load
) -> None:
    settings = train(
        mask_hidden=mask_hidden, loss="wing", heatmap_weight=10.0, confidence_weight=0.1
    )
    moved = []
    for wrong in (0.0, 30.0):
        points = torch.full((4, 3, 2), 30.0)
        points[:, 1] += wrong
        visible = torch.tensor([True, False, True]).expand(4, 3)
        training = started(settings, 3, rate=0.01)
        before = weights(training)
        take_step(training, batch_of(points, visible), scheme_for(3), settings)
        moved.append(weights(training))
        assert any(not torch.equal(before[name], value) for name, value in moved[-1].items())
    same = all(torch.equal(moved[0][name], moved[1][name]) for name in moved[0])
    assert same is mask_hidden


def test_a_loss_in_regions_is_the_sum_of_their_shares(train: Load) -> None:
    # 104 points: each is off by as much, across and down, as its group says. 1-based as in labels.
    off = torch.full((104,), 16.0)  # chin, eyebrows, nose 1-36 and ears 77-80: the face
    off[36:48] = 1.0  # eyes 37-48
    off[48:68] = 4.0  # mouth 49-68
    off[68:76] = 8.0  # pupils 69-76
    off[80:104] = 2.0  # eye contours 81-104, which are eyes
    points = torch.full((2, 104, 2), CENTER) + off[None, :, None]
    settings = train(region_weights={"eyes": 0.4, "mouth": 0.3, "pupil": 0.2, "face": 0.1})
    training = flat(started(settings, 104))
    value = take_step(training, batch_of(points), scheme_for(104), settings)
    eyes = (12 * 1.0 + 24 * 2.0) / 36
    assert value.item() == pytest.approx(0.4 * eyes + 0.3 * 4 + 0.2 * 8 + 0.1 * 16, abs=2e-3)


def test_the_net_is_trained_on_grey_levels_from_0_to_1_as_the_net_that_ships_undoes(
    train: Load,
) -> None:
    settings = train(net="release")  # without batch norm, to which a scale is nothing
    training = started(settings, 2)
    batch = batch_of(torch.full((2, 2, 2), 20.0))
    with torch.no_grad():
        shipped, _ = fold(training.net, "release", 2)(batch.images)
    loss = take_step(training, batch, scheme_for(2), settings)
    assert loss.item() == pytest.approx((shipped - 20.0).abs().mean().item(), rel=1e-5)


def gradients(training: Training, batch: Batch, settings: TrainParams) -> list[Tensor]:
    """Of the loss of ``batch``, unclipped, by a copy of the net."""
    net = copy.deepcopy(training.net)
    scheme = scheme_for(batch.points.shape[1])
    answer = net.outputs(batch.images / 255)
    wanted = targets_of(batch, training.average, None, scheme, settings)
    parameters = list(net.parameters())
    found = torch.autograd.grad(
        training_loss(answer, wanted, settings), parameters, allow_unused=True
    )
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(parameters, found, strict=True)
    ]


def norm_of(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float((tensor.double() ** 2).sum()) for tensor in tensors))


def test_two_steps_move_the_weights_as_adam_does_with_gradients_clipped_to_the_limit(
    train: Load,
) -> None:
    rate, clip = 0.01, 0.5
    settings = train(loss="square_euclidean", gradient_clip=clip)
    training = started(settings, 2, rate)
    moments = [[torch.zeros_like(p).double() for p in training.net.parameters()] for _ in range(2)]
    norms = []
    # Labels in a corner pull hard; the second batch's are 0.005 px from where the points are.
    labels = torch.zeros(4, 2, 2)
    for number in (1, 2):
        gradient = gradients(training, batch_of(labels), settings)
        norms.append(norm_of(gradient))
        expected = []
        pairs = zip(training.net.parameters(), gradient, *moments, strict=True)
        for parameter, slope, mean, square in pairs:
            clipped = slope.double() * min(1.0, clip / norms[-1])
            mean.mul_(0.9).add_(clipped, alpha=0.1)
            square.mul_(0.999).add_(clipped**2, alpha=0.001)
            root = (square / (1 - 0.999**number)).sqrt() + 1e-8
            move = rate * mean / (1 - 0.9**number) / root
            expected.append(parameter.detach().double() - move)
        take_step(training, batch_of(labels), scheme_for(2), settings)
        seen = [p.grad for p in training.net.parameters() if p.grad is not None]
        assert norm_of(seen) == pytest.approx(min(clip, norms[-1]), rel=1e-4)
        # Where a gradient is rounding alone (biases before batch norm), Adam makes a move of it.
        known = [slope.abs() > 1e-3 * slope.abs().max() for slope in gradient]
        for parameter, wanted, sure in zip(training.net.parameters(), expected, known, strict=True):
            if parameter.ndim > 1:
                near = (parameter.detach().double() - wanted).abs() < 5e-4 * rate
                assert near[sure].float().mean() > 0.999
        with torch.no_grad():
            labels = (
                copy.deepcopy(training.net).outputs(batch_of(labels).images / 255).points + 0.005
            )
    assert norms[0] > 20 * clip
    assert norms[1] < clip


def test_without_a_gradient_kernels_shrink_by_the_decay_and_nothing_else_moves(
    train: Load,
) -> None:
    settings = train(weight_decay=0.5)
    training = started(settings, 2, rate=0.1)
    before = weights(training)
    unlabelled = batch_of(torch.full((2, 2, 2), math.nan))
    assert take_step(training, unlabelled, scheme_for(2), settings).item() == 0.0
    kinds = set()
    for name, value in weights(training).items():
        kinds.add(value.ndim)
        factor = 1 - 0.1 * 0.5 if value.ndim > 1 else 1.0  # bias, batch norm, temperature: kept
        torch.testing.assert_close(value, before[name] * factor, msg=name)
    assert kinds == {1, 4}


def test_without_decay_and_gradient_no_weight_moves(train: Load) -> None:
    settings = train()
    training = started(settings, 2, rate=0.1)
    before = weights(training)
    take_step(training, batch_of(torch.full((2, 2, 2), math.nan)), scheme_for(2), settings)
    assert_same(weights(training), before)


def test_the_average_begins_as_the_net_and_moves_by_one_minus_the_decay(train: Load) -> None:
    settings = train()
    training = started(settings, 2, rate=0.05)
    assert_same(training.average.state_dict(), training.net.state_dict())
    batch = batch_of(torch.full((4, 2, 2), 20.0))
    average = {name: value.double() for name, value in floats(state(training.net)).items()}
    for decay in (0.25, 0.75, 0.0):
        training.decay.fill_(decay)
        take_step(training, batch, scheme_for(2), settings)
        for name, value in floats(training.net.state_dict()).items():
            average[name] = decay * average[name] + (1 - decay) * value.double()
        found = training.average.state_dict()
        for name, value in average.items():
            torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-6)
        if decay:
            assert not torch.equal(
                found["stem.0.weight"], training.net.state_dict()["stem.0.weight"]
            )


def test_the_average_never_sees_a_batch_of_its_own(train: Load) -> None:
    settings = train(elt_weight=0.5)
    training = started(settings, 2)
    assert not training.average.training
    assert training.net.training
    before = state(training.average)
    scheme = scheme_for(2)
    generator = torch.Generator().manual_seed(1)
    crops = torch.randint(0, 255, (2, 112, 112), generator=generator, dtype=torch.uint8)
    points = torch.full((2, 2, 2), 50.0)
    faces = TrainingFaces((crops.numpy(),), None, points, torch.ones(2, 2).bool())
    settings = settings.model_copy(
        update={"augment": settings.augment.model_copy(update={"flip_probability": 0.0})}
    )
    batch = sample_batch(faces, torch.arange(2), scheme, settings, BatchRng(0))
    targets_of(batch, training.average, None, scheme, settings)
    assert_same(training.average.state_dict(), before)


def poison_the_loss(training: Training, batch: Batch) -> None:
    batch.images[0, 0, 3, 3] = math.nan


def poison_a_gradient(training: Training, batch: Batch) -> None:
    weight = next(training.net.parameters())
    hook: Any = weight.register_hook
    hook(lambda gradient: torch.full_like(gradient, math.inf))


def poison_a_statistic(training: Training, batch: Batch) -> None:
    """Levels whose variance single precision cannot hold: normalised, they are finite again."""
    batch.images.mul_(1e22)


@pytest.mark.parametrize("poison", [poison_the_loss, poison_a_gradient, poison_a_statistic])
def test_a_step_whose_loss_gradient_or_statistics_are_not_finite_changes_nothing(
    poison: Callable[[Training, Batch], None], train: Load
) -> None:
    settings = train(weight_decay=0.5)
    training = started(settings, 2, rate=0.05)
    training.decay.fill_(0.5)
    good = batch_of(torch.full((2, 2, 2), 20.0))
    assert math.isfinite(take_step(training, good, scheme_for(2), settings).item())
    bad = batch_of(torch.full((2, 2, 2), 60.0))
    poison(training, bad)
    kept = floats(state(training.net)), state(training.average), moments_of(training)
    assert math.isnan(take_step(training, bad, scheme_for(2), settings).item())
    assert_same(floats(training.net.state_dict()), kept[0])
    assert_same(training.average.state_dict(), kept[1])
    assert_same(moments_of(training), kept[2])


def moments_of(training: Training) -> dict[str, Tensor]:
    saved: Any = training.optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value.clone()
        for index, values in saved.items()
        for name, value in values.items()
    }


def test_a_step_after_a_skipped_one_goes_on(train: Load) -> None:
    settings = train()
    training = started(settings, 2, rate=0.05)
    bad, good = (batch_of(torch.full((2, 2, 2), 20.0)) for _ in range(2))
    poison_the_loss(training, bad)
    take_step(training, bad, scheme_for(2), settings)
    before = weights(training)
    assert math.isfinite(take_step(training, good, scheme_for(2), settings).item())
    assert not torch.equal(weights(training)["stem.0.weight"], before["stem.0.weight"])


@pytest.mark.parametrize(
    ("precision", "capability", "has_bf16", "rounded"),
    [
        ("fp32", "AVX512_AMX", True, False),
        ("bf16", "AVX2", False, True),
        ("auto", "AVX2", False, False),
        ("auto", "AVX512", True, True),
        ("auto", "AVX512_AMX", False, True),
    ],
)
def test_a_cpu_computes_in_bf16_where_it_can_or_must(
    precision: str,
    capability: str,
    has_bf16: bool,
    rounded: bool,
    train: Load,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    batch = batch_of(torch.full((2, 2, 2), 20.0))
    losses = []
    for name in ("fp32", precision):
        settings = train(precision=name)
        losses.append(take_step(started(settings, 2), batch, scheme_for(2), settings).item())
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert (losses[1] != losses[0]) is rounded


def test_a_batch_is_drawn_from_its_rows_with_as_much_of_the_augmentation_as_is_left(
    train: Load,
) -> None:
    settings = train()
    scheme = scheme_for(68)
    generator = torch.Generator().manual_seed(1)
    crops = torch.randint(0, 255, (3, 112, 112), generator=generator, dtype=torch.uint8)
    points = torch.rand(3, 68, 2, generator=generator) * 80 + 16
    visible = torch.rand(3, 68, generator=generator) < 0.8
    faces = TrainingFaces((crops.numpy(),), None, points, visible)
    rows = torch.tensor([2, 0])
    for amount in (1.0, 0.25):
        batch = sample_batch(faces, rows, scheme, settings, BatchRng(3), amount)
        augment = softened(settings.augment, amount)
        alone = augment_batch(
            crops[rows], points[rows], visible[rows], scheme, augment, BatchRng(3)
        )
        assert torch.equal(batch.images, alone.images)
        assert torch.equal(batch.points, alone.points)
        assert torch.equal(batch.visible, alone.visible)
        assert batch.plain is None
    asked = sample_batch(faces, rows, scheme, train(elt_weight=0.1), BatchRng(3))
    assert asked.plain is not None
    assert torch.equal(asked.plain[:, 0], crops[rows][:, 16:96, 16:96].float())
