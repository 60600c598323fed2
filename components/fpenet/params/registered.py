"""Allowed names in params.yaml: the keys of a registry, read from its source.

A registry is a dict literal in the module of its functions (``LOSSES`` in model/losses.py). Its
keys are read from the source text without an import, because a device may have no torch, and
because every module with a registry imports params.
"""

import ast
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from fpenet.core.python_source import parse_python, source_of


@cache
def registry_names(registry: str) -> tuple[str, ...]:
    """The keys of the dict literal ``module:NAME``, in source order.

    >>> registry_names("fpenet.deploy.int8.histogram:METHODS")
    ('minmax', 'percentile', 'entropy', 'mse')
    """
    module, name = registry.split(":")
    path = source_of(module)
    for node in parse_python(path).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
            assert isinstance(value, ast.Dict), f"{registry} must be a dict literal"
            keys = [key.value for key in value.keys if isinstance(key, ast.Constant)]
            assert len(keys) == len(value.keys), f"{registry}: every key must be a literal"
            return tuple(map(str, keys))
    raise LookupError(f"{path} has no {name}")


@dataclass(frozen=True)
class Registered:
    """Annotation of a string that must be a key of one of the registries ``module:NAME``.

    Attributes:
        also: additional allowed values, for example ``auto``.
    """

    registries: tuple[str, ...]
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All allowed values."""
        registries = map(registry_names, self.registries)
        return (*(name for names in registries for name in names), *self.also)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self.names)}

    def _check(self, name: str) -> str:
        if name not in self.names:
            expected = {"names": self._in_words()}
            raise PydanticCustomError("registered", "Input should be {names}", expected)
        return name

    def _in_words(self) -> str:
        """All allowed values as text.

        >>> Registered((), ("auto", "none"))._in_words()
        "'auto' or 'none'"
        """
        *first, last = (repr(each) for each in self.names)
        return f"{', '.join(first)} or {last}" if first else last
