"""TAO's experiment_spec.yaml of FPENet as keys of params.yaml, with one row for each of its keys.

Input: the spec's tree (docs/fpenet.md, Labels and training spec). Output: values of params.yaml for
the same training, and a row for every key: taken, changed or ignored, and the reason. Features that
TAO does not have are switched off. A key or value that has no equivalent is an error.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import brief
from fpenet.data.crops.store import CROP_PX
from fpenet.keypoints import scheme_for
from fpenet.tao.fields import ADDED, AUGMENTATION, FIELDS, MODEL, RATE, Conversion

_NETS = {
    ("FpeNet_base", False): "base",
    ("FpeNet_base", True): "release",  # with nearest-neighbour upsampling the two are equal
    ("FpeNet_base_5x5_conv", False): "base_5x5",
    ("FpeNet_release", False): "release",
    ("FpeNet_release", True): "release",
    ("FpeNet_public", False): "public",
    ("FpeNet_public", True): "public",
}
_LOSSES = {"l1": "l1", "square_euclidean": "square_euclidean", "wing_loss": "wing"}
_NO_LIMIT_MINUTES = 10080.0  # a week


@dataclass(frozen=True, slots=True)
class SpecRow:
    """Conversion of one key.

    Attributes:
        key: dotted key of the spec; in an ``added`` row, the key of params.yaml.
        value: its value in the spec.
        params: keys of params.yaml and their values.
        reason: why the value is changed or the key ignored.
    """

    key: str
    value: Any
    params: Mapping[str, Any]
    conversion: Conversion
    reason: str


class _Spec:
    """The spec by dotted keys; errors name the file and the key."""

    def __init__(self, tree: Mapping[str, Any], source: str) -> None:
        self.source = source
        self.leaves = dict(_flat(tree))

    def value(self, key: str, default: Any) -> Any:
        value = self.leaves.get(key, default)
        return default if value is None else value

    def number(self, key: str, default: float) -> float:
        value = self.value(key, default)
        if isinstance(value, str):  # YAML reads 1e-05 as text
            try:
                value = float(value)
            except ValueError:
                raise self.error(key, value, "a number") from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, value, "a number")
        if not math.isfinite(value):
            raise self.error(key, value, "finite")
        return value

    def whole(self, key: str, default: int) -> int:
        value = self.number(key, default)
        if value != int(value):
            raise self.error(key, value, "a whole number")
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.value(key, default)
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value

    def choice(self, key: str, default: str, allowed: Iterable[str]) -> str:
        value = self.value(key, default)
        if not isinstance(value, str) or value not in allowed:
            raise self.error(key, value, f"one of {sorted(allowed)}")
        return value

    def error(self, key: str, value: Any, expected: str) -> InputError:
        return InputError(f"{self.source}: {key} is {brief(value)}; it must be {expected}")


def read_spec(tree: Mapping[str, Any], source: str) -> tuple[dict[str, Any], list[SpecRow]]:
    """The keys of params.yaml with their values, and a row for every key of the spec.

    Raises:
        InputError: the tree is no spec of FPENet, or a value is not allowed; the message names the
            key and the value.
    """
    spec = _Spec(tree, source)
    if spec.value("__class_name__", "") != "FpeNetTrainer":
        raise spec.error("__class_name__", spec.leaves.get("__class_name__"), "FpeNetTrainer")
    if unknown := [line for key, value in spec.leaves.items() if (line := _unknown(key, value))]:
        raise InputError(f"{source}: {'; '.join(unknown)}; correct or remove these keys")
    settings = _settings(spec)
    rows = [_row(key, value, settings) for key, value in spec.leaves.items()]
    covered = {key for row in rows for key in row.params}
    default = "the key is absent in the spec; the value is TAO's default"
    rows += [
        SpecRow(key, None, {key: value}, "added", ADDED.get(key, default))
        for key, value in settings.items()
        if key not in covered
    ]
    return settings, rows


def _unknown(key: str, value: Any) -> str | None:
    """The error text of a key that is not in FPENet's spec; None for a known key."""
    section = value in (None, {}) and any(field.startswith(f"{key}.") for field in FIELDS)
    if key in FIELDS or section or key.rpartition(".")[2] == "__class_name__":
        return None
    near = get_close_matches(key, FIELDS, n=1)
    return f"{key} is {brief(value)}: not a key of FPENet's spec" + (
        f", did you mean {near[0]}?" if near else ""
    )


def _row(key: str, value: Any, settings: Mapping[str, Any]) -> SpecRow:
    if key.rpartition(".")[2] == "__class_name__":
        return SpecRow(key, value, {}, "ignored", "params.yaml has no classes")
    if key not in FIELDS:
        return SpecRow(key, value, {}, "ignored", "the section is empty")
    conversion, names, reason = FIELDS[key]
    if key == "key":
        value = "(not shown)"
    return SpecRow(key, value, {name: settings[name] for name in names}, conversion, reason)


def _settings(spec: _Spec) -> dict[str, Any]:
    """Every key of params.yaml that the spec or TAO's defaults determine."""
    keypoints = spec.whole("num_keypoints", 80)
    second = spec.number("dataloader.num_keypoints", keypoints)
    if second != keypoints:
        raise spec.error("dataloader.num_keypoints", second, f"num_keypoints, which is {keypoints}")
    for name, expected in (("channel", 1), ("height", CROP_PX), ("width", CROP_PX)):
        key = f"dataloader.image_info.image.{name}"
        if (value := spec.number(key, expected)) != expected:
            raise spec.error(key, value, f"{expected}: the input of the nets is 1x80x80 grey")
    warmup = spec.number(f"{RATE}.soft_start", 0.0)
    loss = spec.choice("loss.loss_type", "l1", _LOSSES)
    elt = spec.number("loss.elt_loss_info.elt_alpha", 0.5)
    if not spec.flag("loss.elt_loss_info.enable_elt_loss", False):
        elt = 0.0
    decay = spec.number(f"{MODEL}.regularizer_weight", 0.0)
    if spec.choice(f"{MODEL}.regularizer_type", "l2", ("l1", "l2")) == "l1":
        decay = 0.0
    return {
        "data.keypoints": keypoints,
        "train.net": _net(spec),
        "train.loss": _LOSSES[loss],
        "train.wing_w": 10.0,
        "train.wing_epsilon": 2.0,
        "train.heatmap_weight": 0.0,
        "train.elt_weight": elt,
        "train.region_weights": _region_weights(spec, keypoints, loss),
        "train.mask_hidden": spec.flag("loss.mask_occ", False),
        "train.batch_size": spec.whole("dataloader.batch_size", 64),
        "train.epochs": spec.whole("num_epoch", 40),
        "train.max_minutes": _NO_LIMIT_MINUTES,
        "train.learning_rate": spec.number(f"{RATE}.base_learning_rate", 5e-4),
        "train.min_learning_rate": spec.number(f"{RATE}.min_learning_rate", 1e-7),
        "train.warmup_fraction": warmup,
        "train.flat_fraction": round(
            max(0.0, spec.number(f"{RATE}.annealing", warmup) - warmup), 6
        ),
        "train.weak_fraction": 0.0,
        "train.weight_decay": decay,
        "train.ema_decay": 0.0,
        "train.checkpoint_every_epochs": spec.whole("checkpoint_n_epoch", 1),
        "train.seed": spec.whole("random_seed", 42),
        **{f"train.augment.{name}": value for name, value in _augment(spec, keypoints).items()},
    }


def _net(spec: _Spec) -> str:
    net = spec.choice(f"{MODEL}.type", "FpeNet_base", {name for name, _ in _NETS})
    nearest = spec.flag(f"{MODEL}.use_upsampling_layer", False)
    if (net, nearest) not in _NETS:
        raise spec.error(f"{MODEL}.use_upsampling_layer", nearest, f"false for {net}")
    return _NETS[net, nearest]


def _region_weights(spec: _Spec, keypoints: int, loss: str) -> dict[str, float] | None:
    """Convert TAO's region weights to shares of the loss; None where there are none.

    TAO's wing loss is a sum over the points of a region, its other losses are means. In TAO pupils
    have the weight of the eyes, and ears that of the face, in separate terms.
    """
    tao_weights = {
        name: spec.number(f"loss.weights_dict.{name}", 0.0)
        for name in ("face", "eyes", "mouth")
        if f"loss.weights_dict.{name}" in spec.leaves
    }
    if not tao_weights:
        return None
    values = tao_weights.values()
    if len(values) < 3 or min(values) < 0 or abs(sum(values) - 1.0) > 1e-6:
        raise spec.error("loss.weights_dict", tao_weights, "face, eyes and mouth, summing to 1")
    groups = scheme_for(keypoints).loss_groups
    if set(groups) == {"face"}:
        return None
    weights = {name: tao_weights.get("eyes" if name == "pupil" else name, 0.0) for name in groups}
    if loss == "wing_loss":
        weights = {name: weight * len(groups[name]) for name, weight in weights.items()}
    elif keypoints == 80:
        weights["face"] *= 2  # TAO adds the mean over the ears
    total = sum(weights.values())
    shares = {name: round(weight / total, 6) for name, weight in weights.items()}
    shares["face"] = round(1.0 - sum(shares.values()) + shares["face"], 6)
    return shares


def _augment(spec: _Spec, keypoints: int) -> dict[str, Any]:
    """Section train.augment; all 0 if online augmentation is switched off in the spec."""
    online = spec.flag(f"{AUGMENTATION}.enable_online_augmentation", False)

    def number(key: str, default: float, needs: str | None = None) -> float:
        on = online and (needs is None or spec.flag(f"{AUGMENTATION}.{needs}", False))
        value = spec.number(f"{AUGMENTATION}.{key}", default)
        return value if on else default

    space, gamma = "modulus_spatial_augmentation", "gamma_augmentation"
    zoom = (number(f"{space}.zoom_min", 1.0), number(f"{space}.zoom_max", 1.0))
    largest = max(1.0, number("size_to_image_ratio", 0.5) * CROP_PX)
    scale = max(1.0, number("augmentation_resize_scale", 1.0))
    flips = number(f"{space}.hflip_probability", 0.0)
    if flips > 0 and scheme_for(keypoints).flip_map is None:
        key = f"{AUGMENTATION}.{space}.hflip_probability"
        raise spec.error(key, flips, f"0 for {keypoints} keypoints, which have no flip map")
    return {
        "flip_probability": flips,
        "rotate_deg": round(math.degrees(number(f"{space}.rotate_rad_max", 0.0)), 4),
        "zoom": _largest_change(spec, f"{AUGMENTATION}.{space}.zoom_min", *zoom),
        "shift_px": max(number(f"{space}.translate_max_{axis}", 0.0) for axis in "xy"),
        "gamma": _largest_change(
            spec, f"{AUGMENTATION}.{gamma}.gamma_min", *_gamma_range(spec, number)
        ),
        "contrast": 0.0,
        "shade": 0.0,
        "noise": 0.0,
        "blur_probability": 0.0,
        "sharpen_probability": 0.0,
        "low_resolution_probability": number(
            "augmentation_resize_probability", 0.0, "enable_resize_augmentation"
        ),
        "low_resolution_px": max(10, round(CROP_PX / scale)),
        "patch_probability": number("patch_probability", 0.0, "enable_occlusion_augmentation"),
        "patch_px": [min(10, int(largest)), int(largest)],
        "patch_hides": spec.flag(f"{AUGMENTATION}.mask_augmentation_patch", False),
    }


def _gamma_range(spec: _Spec, number: Callable[..., float]) -> tuple[float, float]:
    """The range of gamma exponents; for a normal distribution, mean +/- two deviations."""
    prefix = "gamma_augmentation"
    if number(f"{prefix}.gamma_probability", 0.0) == 0.0:
        return 1.0, 1.0
    if (
        spec.choice(f"{AUGMENTATION}.{prefix}.gamma_type", "uniform", ("uniform", "normal"))
        == "normal"
    ):
        mean, deviation = number(f"{prefix}.gamma_mu", 1.0), number(f"{prefix}.gamma_std", 0.0)
        return max(mean - 2 * deviation, 0.1), mean + 2 * deviation
    return number(f"{prefix}.gamma_min", 1.0), number(f"{prefix}.gamma_max", 1.0)


def _largest_change(spec: _Spec, key: str, smallest: float, largest: float) -> float:
    """The larger relative change of a range about 1, in the form of params.yaml."""
    if smallest <= 0:
        raise spec.error(key, smallest, "above 0")
    return round(min(0.99, max(largest - 1.0, 1.0 / smallest - 1.0, 0.0)), 6)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
