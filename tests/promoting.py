"""Fixtures for promotion requests on the registered releases of one test."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fpenet.params import Params
from fpenet.provenance.signing import PublicKey, read_trusted
from fpenet.release.evidence import DEPLOYABLE
from fpenet.release.promotion.promotion import decide_request
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import ReleasePointer, read_pointer

PARAMS = Path(__file__).parents[1] / "params.yaml"


@dataclass
class Promoting:
    """The params of a promotion, and the state of its model in MLflow and the release store."""

    params: Params
    keys: Mapping[str, Any]

    @property
    def options(self) -> list[str]:
        """The params as options of ``fpenet``."""
        pairs = [f"{key}={json.dumps(value)}" for key, value in self.keys.items()]
        return ["--params", str(PARAMS), *(word for pair in pairs for word in ("--set", pair))]

    @property
    def model(self) -> str:
        return self.params.register_.deployable_model

    def request(self, version: str) -> None:
        """Set the alias ``deployable`` on a version, as MLflow's page does."""
        from mlflow import MlflowClient

        MlflowClient().set_registered_model_alias(self.model, DEPLOYABLE, version)

    @property
    def alias(self) -> str | None:
        from mlflow import MlflowClient

        found = MlflowClient().get_registered_model(self.model).aliases.get(DEPLOYABLE)
        return None if found is None else str(found)

    def page(self, version: str) -> Any:
        """The version in MLflow, with its description and tags."""
        from mlflow import MlflowClient

        return MlflowClient().get_model_version(self.model, version)

    @property
    def trusted(self) -> tuple[PublicKey, ...]:
        return read_trusted(self.params.trust.public_keys)

    @property
    def pointer(self) -> ReleasePointer:
        return read_pointer(release_store(self.params), self.trusted)


@pytest.fixture
def promoting(
    params_with: Callable[..., Params], names: dict[str, Any], tmp_path: Path
) -> Callable[..., Promoting]:
    """Promotions of the models of ``register``; the argument has more keys of params.yaml."""

    def make(more: Mapping[str, Any] | None = None) -> Promoting:
        keys: dict[str, Any] = {
            **names,
            "trust.public_keys": [(tmp_path / ".keys/development.pub").as_posix()],
            "trust.signing_key": (tmp_path / ".keys/development.pem").as_posix(),
            "promote.store": (tmp_path / "releases").as_posix(),
        }
        keys |= more or {}
        return Promoting(params_with(keys), keys)

    return make


@pytest.fixture
def gate_of_three(
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    promoting: Callable[..., Promoting],
) -> Promoting:
    """Three registered versions, of which 1 and then 2 were promoted."""
    for n in (1, 2, 3):
        register(stage_folders(f"stages{n}", kpi_all=4 + n / 8))
    gate = promoting()
    for version in ("1", "2"):
        gate.request(version)
        answer = decide_request(gate.params)
        assert answer is not None
        assert answer.outcome == "promoted"
    return gate
