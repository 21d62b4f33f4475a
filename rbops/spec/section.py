"""What all sections of a spec share: known keys only, defaults from the model, nothing where nothing is written."""

from dataclasses import MISSING, fields
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Section", "default"]


def default(of: type, name: str, written: Any = None) -> Any:
    """A field with the default of the model's dataclass ``of``; ``written`` is how a spec would say it."""
    value = next(field.default for field in fields(of) if field.name == name)
    if value is MISSING:
        raise LookupError(name)
    return Field(default=value, json_schema_extra={"default": written} if written is not None else None)


class Section(BaseModel):
    """A mapping with known keys only."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: object) -> object:
        """A key without a value is as good as not written."""
        if value is None:
            return {}
        return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
