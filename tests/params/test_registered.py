"""Names in params.yaml are held to the registries that own them."""

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from fpenet.params import Params
from fpenet.params.registered import Registered, registry_names


def annotations_of(section: type[BaseModel]) -> Iterator[Registered]:
    """Every ``Registered`` of a section and of the sections in it."""
    for field in section.model_fields.values():
        pending: list[Any] = [field.annotation, *field.metadata]
        while pending:
            each = pending.pop()
            if isinstance(each, Registered):
                yield each
            elif isinstance(each, type) and issubclass(each, BaseModel):
                yield from annotations_of(each)
            else:
                pending += get_args(each)
                pending += getattr(each, "__metadata__", ())


def test_the_names_of_params_are_the_keys_of_the_registries_as_they_run() -> None:
    registries = {name for each in annotations_of(Params) for name in each.registries}
    assert len(registries) >= 14
    registries.add("fpenet.kpi.normalisers:NORMALISERS")  # of the names of metrics
    for registry in registries:
        module, name = registry.split(":")
        assert registry_names(registry) == tuple(getattr(import_module(module), name)), registry


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.net", "huge", "train.net is 'huge': Input should be 'base', 'base_5x5', "),
        ("build.targets", ["cpu", "tpu"], "build.targets.1 is 'tpu': Input should be 'cpu', 't4'"),
        ("split.by", "luck", "'kpi_subjects', 'table', 'hash' or 'auto'"),
        ("evaluate.robustness.levels", {"fog": [1.0]}, "Input should be 'shift', 'scale'"),
        ("synth.views", ["05_1", "below"], "Input should be 'all', 'near-frontal', 'profile', "),
        ("validate.severity", {"occluded": "drop"}, None),
        (
            "gate.comparison.metrics",
            ["pixels/all"],
            "where UNIT is 'image_px', 'image_px_visible', ",
        ),
        ("gate.comparison.metrics", ["failure_rate_box_8/all"], "'nme_diagonal_visible'"),
        ("gate.thresholds.other.pck_box_5/all", 0.5, "'failure_rate_diagonal_10'"),
        ("gate.thresholds.other.nme_lips/all", 0.5, "'nme_interocular', "),
        ("gate.thresholds.other.image_px", 4.0, "Input should be UNIT/REGION, where UNIT is "),
    ],
)
def test_a_name_that_no_registry_has_is_refused_with_those_that_it_has(
    params_with: Callable[..., Params], key: str, value: Any, message: str | None
) -> None:
    if message is None:  # the mapping is laid over the other rows: nothing is missing
        assert params_with({key: value}).validate_.severity["occluded"] == "drop"
        return
    with pytest.raises(ValueError, match=key) as error:
        params_with({key: value})
    assert message in str(error.value)


@pytest.mark.parametrize(
    "name", ["tight/image_px_visible/all", "nme_box/lips.upper", "failure_rate_interocular_10/eyes"]
)
def test_a_threshold_takes_each_metric_for_which_lower_is_better(
    params_with: Callable[..., Params], name: str
) -> None:
    assert params_with({"gate.thresholds": {"other": {name: 2.5}}}).gate.thresholds["other"] == {
        "nme_box/all": 0.05,  # of params.yaml
        name: 2.5,
    }


def test_the_form_of_a_flow_offers_the_names() -> None:
    net = Params.model_json_schema()["$defs"]["TrainParams"]["properties"]["net"]
    assert net["enum"] == list(registry_names("fpenet.model.nets.recombinator:NETS"))


def test_the_form_of_a_flow_takes_the_metrics_of_the_registry() -> None:
    metrics = Params.model_json_schema()["$defs"]["ComparisonParams"]["properties"]["metrics"]
    pattern = re.compile(metrics["items"]["pattern"])
    assert pattern.search("tight/image_px/all")
    assert not pattern.search("pck_box_5/all")
    assert not pattern.search("image_px")
