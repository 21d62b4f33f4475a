"""What all sections of a spec share: one frozen dataclass each, which reads itself from the document.

A section validates what is written, makes its JSON Schema and is the value that planner and plan work with. Its
fields carry their unit in the name where the key does not (``line_rate_bps: Annotated[Rate, key("line_rate")]``).
Text is only read on the way in from a document (``read``); a section made in Python holds values already.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Hashable
from dataclasses import dataclass as plain_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

__all__ = ["CONFIG", "BaseSection", "Reading", "Section", "default", "description", "key", "keys", "read"]

CONFIG = ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=True, defer_build=True)
"""Known keys only; validators are built when the first document is read, not at import."""

_T = TypeVar("_T")


@plain_dataclass(frozen=True, slots=True)
class Reading:
    """The context in which a document is read: relative paths start at ``base``."""

    base: Path


def key(name: str) -> Any:
    """The field's key in the document, where its own name is longer."""
    return Field(validation_alias=name)


def default(value: Any, written: Any) -> Any:
    """A default and how a spec would write it: ``default(0.1, "100ms")``."""
    return Field(default=value, json_schema_extra={"default": written})


def read(of: type[_T], tree: object, base: Path = Path()) -> _T:
    """The section ``of`` from a document's plain values; raises pydantic's ValidationError."""
    adapter: TypeAdapter[_T] = _adapter(cast("Hashable", of))
    return adapter.validate_python(tree, context=Reading(base), by_alias=True, by_name=False)


def keys(of: object) -> dict[str, FieldInfo]:
    """Key -> field of a section, in its order; empty for any other type."""
    if not (isinstance(of, type) and issubclass(of, Section | BaseSection)):
        return {}
    fields: dict[str, FieldInfo] = of.model_fields if issubclass(of, BaseSection) else of.__pydantic_fields__
    return {str(info.validation_alias or name): info for name, info in fields.items()}


def description(of: type, name: str) -> str | None:
    """What the source says below the key ``name`` of a section."""
    info = keys(of)[name]
    return info.description or _descriptions(of).get(name)


def _descriptions(of: type) -> dict[str, str]:
    """Key -> the text below it; read when a schema or a hint wants it, not at import."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(of))).body
    texts = {}
    for field, text in pairwise(body.body if isinstance(body, ast.ClassDef) else ()):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                texts[name] = inspect.cleandoc(said)
    fields = of.__pydantic_fields__ if issubclass(of, Section) else {}
    return {str(fields[name].validation_alias or name): text for name, text in texts.items() if name in fields}


@cache
def _adapter(of: Any) -> TypeAdapter[Any]:
    return TypeAdapter(of)


def _written(value: object) -> object:
    """A key without a value is as good as not written."""
    if value is None:
        return {}
    return {name: item for name, item in value.items() if item is not None} if isinstance(value, dict) else value


@dataclass(frozen=True, slots=True, config=CONFIG)
class Section:
    """A mapping with known keys only."""

    __pydantic_fields__: ClassVar[dict[str, FieldInfo]]

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
            properties[name]["description"] = text
        return made


class BaseSection(BaseModel):
    """A mapping with known keys only, which something else makes the value of."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: object) -> object:
        return _written(value)
