"""The section ``sweep`` of params.yaml."""

from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from fpenet.params.section import Section

Scalar = bool | int | float | str | None


class RangeParams(Section):
    """Numbers from ``low`` to ``high``, both included; whole ones where both ends are."""

    low: int | float
    high: int | float
    log: bool = False
    """Drawn evenly over orders of magnitude."""

    @model_validator(mode="after")
    def _ends_in_order(self) -> "RangeParams":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 where log is true")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
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
    """Without a password: PGPASSWORD and ``~/.pgpass`` are read by the driver itself."""
    pruning: PruningParams
    space: Annotated[dict[str, RangeParams | tuple[Scalar, ...]], Field(min_length=1)]
    """Key of section ``train`` -> the values that are tried."""

    @field_validator("space")
    @classmethod
    def _of_train_and_more_than_one(cls, space: dict[str, Any]) -> dict[str, Any]:
        for key, values in space.items():
            if not key.startswith("train."):
                raise ValueError(f"{key} is no key of train, which alone is tried")
            if isinstance(values, tuple) and len(set(values)) < max(2, len(values)):
                raise ValueError(f"{key} needs two different values or more")
        return space
