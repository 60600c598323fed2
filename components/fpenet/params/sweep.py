"""The section ``sweep`` of params.yaml."""

from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from fpenet.params.section import Section

Scalar = bool | int | float | str | None


class RangeParams(Section):
    """Numbers from ``low`` to ``high``, both included; integers if both ends are integers."""

    low: int | float
    high: int | float
    log: bool = False
    """Sample uniformly in the logarithm."""

    @model_validator(mode="after")
    def _ends_in_order(self) -> "RangeParams":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 where log is true")
        return self

    @property
    def whole(self) -> bool:
        """Whether only integers are sampled."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class PruningParams(Section):
    first_trials: PositiveInt
    first_epochs: NonNegativeInt


class SweepParams(Section):
    trials: PositiveInt
    aside_fraction: Annotated[float, Field(gt=0.0, lt=1.0)]
    aside_seed: NonNegativeInt
    seed: NonNegativeInt
    storage: (
        Annotated[
            str, Field(pattern=r"^postgresql\+psycopg://([^:/@\s]+@)?[^:/@\s]+(:\d+)?/[\w.-]+$")
        ]
        | None
    )
    """PostgreSQL URL without a password: the driver reads PGPASSWORD and ``~/.pgpass``."""
    pruning: PruningParams
    space: Annotated[dict[str, RangeParams | tuple[Scalar, ...]], Field(min_length=1)]
    """Key of section ``train`` -> the values to try."""

    @field_validator("space")
    @classmethod
    def _keys_of_train_with_two_values(cls, space: dict[str, Any]) -> dict[str, Any]:
        for key, values in space.items():
            if not key.startswith("train."):
                raise ValueError(f"{key} is not a key of train; only keys train.* can be swept")
            if isinstance(values, tuple) and len(set(values)) < max(2, len(values)):
                raise ValueError(f"{key} needs at least two different values, none repeated")
        return space
