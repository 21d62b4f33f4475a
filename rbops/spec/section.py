"""What all sections of a spec share: one frozen dataclass each, which reads itself from the document.

A section validates what is written, makes its JSON Schema and is the value that planner and plan work with. Its
fields carry their unit in the name where the key does not (``line_rate_bps: Annotated[Rate, key("line_rate")]``).
Text is only read on the way in from a document (``read``); a section made in Python holds values already.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Hashable
from dataclasses import dataclass as plain_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import (
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, PydanticOmit, core_schema

__all__ = [
    "CONFIG",
    "UNKNOWN",
    "From",
    "Reading",
    "Section",
    "Unwritten",
    "default",
    "description",
    "key",
    "keys",
    "names",
    "read",
]

CONFIG = ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=False, defer_build=True)
"""Known keys only; by the fields' names in Python; validators are built at the first use, not at import."""

UNKNOWN = "unwritten"
"""Pydantic's type of the error about a key that names such a field."""

_T = TypeVar("_T")


@plain_dataclass(frozen=True, slots=True)
class Reading:
    """The context in which a document is read: relative paths start at ``base``."""

    base: Path


def key(name: str, **more: Any) -> Any:
    """The field's key in the document, where its own name is longer; ``more`` goes to pydantic's ``Field``."""
    return Field(validation_alias=name, **more)


def default(value: Any, written: Any) -> Any:
    """A default and how a spec would write it: ``default(0.1, "100ms")``."""
    return Field(default=value, json_schema_extra={"default": written})


def read(of: type[_T], tree: object, base: Path = Path()) -> _T:
    """The section ``of`` from a document's plain values; raises pydantic's ValidationError."""
    adapter: TypeAdapter[_T] = _adapter(cast("Hashable", of))
    return adapter.validate_python(tree, context=Reading(base), by_alias=True, by_name=False)


def names(of: type) -> dict[str, str]:
    """Key -> the name of its field."""
    fields: dict[str, FieldInfo] = vars(of)["__pydantic_fields__"]
    return {str(info.validation_alias or name): name for name, info in fields.items() if _in_document(info)}


def keys(of: object) -> dict[str, FieldInfo]:
    """Key -> field of a section, in its order; empty for any other type."""
    if not (isinstance(of, type) and issubclass(of, Section)):
        return {}
    fields: dict[str, FieldInfo] = vars(of)["__pydantic_fields__"]
    return {str(info.validation_alias or name): info for name, info in fields.items() if _in_document(info)}


def description(of: type, name: str) -> str | None:
    """What the source says below the key ``name`` of a section."""
    info = keys(of)[name]
    return info.description or _descriptions(of).get(name)


def _descriptions(of: type) -> dict[str, str]:
    """Key -> the text below it; read when a schema or a hint wants it, not at import."""
    if all(info.description for info in keys(of).values()):
        return {}
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(of))).body
    texts = {}
    for field, text in pairwise(body.body if isinstance(body, ast.ClassDef) else ()):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                texts[name] = inspect.cleandoc(said)
    return {key: texts[name] for key, name in names(of).items() if name in texts}


def _in_document(info: FieldInfo) -> bool:
    return not any(isinstance(part, Unwritten) for part in info.metadata)


@cache
def _adapter(of: Any) -> TypeAdapter[Any]:
    return TypeAdapter(of)


def _written(value: object) -> object:
    """A key without a value is as good as not written."""
    if value is None:
        return {}
    return {name: item for name, item in value.items() if item is not None} if isinstance(value, dict) else value


class Unwritten:
    """Marks a field that no document has: what was read elsewhere."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        raise PydanticOmit

    def _validate(self, value: object, info: ValidationInfo) -> object:
        if info.context is not None:
            raise PydanticCustomError(UNKNOWN, "unknown key")
        return value


@plain_dataclass(frozen=True, slots=True)
class From:
    """Marks a field whose value ``make`` makes of another section, which is what the document has."""

    section: type
    make: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_wrap_validator_function(self._validate, handler.generate_schema(self.section))

    def _validate(self, value: object, read: Callable[[object], Any], info: ValidationInfo) -> Any:
        return value if info.context is None else self.make(read(value))


@dataclass(frozen=True, slots=True, config=CONFIG)
class Section:
    """A mapping with known keys only."""

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: object) -> object:
        return _written(value)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """With the text below each field as its description."""
        made = handler(schema)
        properties = handler.resolve_ref_schema(made)["properties"]
        for name, text in _descriptions(cls).items():
            properties[name].setdefault("description", text)
        return made
