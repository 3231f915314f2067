"""What goes in and out as JSON: names in camelCase, nothing unknown, no number written as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

T = TypeVar("T")
_STRICT = frozenset({"bool", "float", "int"})


def is_storable(text: str) -> bool:
    """Return whether any database can hold `text`: PostgreSQL knows no NUL, UTF-8 no half of a surrogate pair."""
    return "\x00" not in text and (text.isascii() or not any("\ud800" <= one <= "\udfff" for one in text))


def _be_strict(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("type") in _STRICT:
            node["strict"] = True
        for member in node.values():
            _be_strict(member)
    elif isinstance(node, list):
        for item in node:
            _be_strict(item)


class ApiDocument(BaseModel):
    """Base of every JSON document of the API.

    Texts are such that any database can hold them. Numbers and flags are not read from text; times and enumerations
    are, for JSON has no others.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid", frozen=True
    )

    @model_validator(mode="before")
    @classmethod
    def _holds_storable_texts(cls, data: Any) -> Any:
        waiting = [data]
        while waiting:
            match waiting.pop():
                case str() as text if not is_storable(text):
                    raise ValueError("a text holds the character NUL or half a surrogate pair: leave it out")
                case dict() as members:
                    waiting += [*members, *members.values()]
                case list() as items:
                    waiting += items
        return data

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema with numbers and flags strict. `strict=True` for all would refuse times, too."""
        schema = handler(source)
        _be_strict(schema)
        return schema


class Page(ApiDocument, Generic[T]):
    """A part of a list. `nextCursor` is what to ask with for the next; without one, this is the last."""

    items: list[T]
    next_cursor: str | None = Field(default=None, description="`cursor` of the next page; null on the last one")
