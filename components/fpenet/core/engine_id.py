"""The name of an engine: its target and its precision, written ``target/precision``."""

from dataclasses import dataclass

from fpenet.core.errors import InputError


@dataclass(frozen=True, slots=True, order=True)
class EngineId:
    """An engine of one target at one precision.

    >>> str(EngineId("t4", "fp16"))
    't4/fp16'
    >>> EngineId.parse("t4/fp16").precision
    'fp16'
    """

    target: str
    precision: str

    def __str__(self) -> str:
        return f"{self.target}/{self.precision}"

    @classmethod
    def parse(cls, text: str) -> "EngineId":
        """The engine that ``text`` names.

        Raises:
            InputError: it is not ``target/precision``.
        """
        target, slash, precision = text.partition("/")
        if not (target and slash and precision) or "/" in precision:
            raise InputError(f"{text!r} is not the name of an engine: target/precision")
        return cls(target, precision)
