"""The documents of the stand-in for Typesense: written, filtered and searched as the real server does it."""

from __future__ import annotations

import operator
import re
import time
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PAGE_MOST = 250
_PAGE = 10
_TYPES: dict[str, type] = {"int32": int, "int64": int, "string": str, "bool": bool, "float": float}
_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_CONDITION = re.compile(r"\s*(?P<name>[\w.]+)\s*:\s*(?P<sign>!=|=|<=|>=|<|>|)\s*(?P<value>.+?)\s*", re.DOTALL)


class Refused(Exception):  # noqa: N818 (an answer, not a failure of the stand-in)
    """A request, or a line of an import, that is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        """Say which."""
        super().__init__(message)
        self.status, self.message = status, message


@dataclass
class Collection:
    """A schema and documents by id, in the order they came."""

    name: str
    fields: list[dict[str, Any]]
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    created_at: int = field(default_factory=lambda: int(time.time()))
    _next_id: int = 0

    def description(self) -> dict[str, Any]:
        """Return what is said of it."""
        return {
            "name": self.name,
            "fields": self.fields,
            "num_documents": len(self.documents),
            "created_at": self.created_at,
        }

    def alter(self, fields: Sequence[dict[str, Any]]) -> None:
        """Add fields, or drop some."""
        there = {each["name"] for each in self.fields}
        for each in fields:
            if each.get("drop"):
                if each["name"] not in there:
                    raise Refused(400, f"Field `{each['name']}` is not part of collection schema.")
            elif each["name"] in there and not any(one.get("drop") and one["name"] == each["name"] for one in fields):
                raise Refused(
                    400,
                    f"Field `{each['name']}` is already part of the schema: To change this field, "
                    "drop it first before adding it back to the schema.",
                )
            elif not each.get("optional") and any(each["name"] not in one for one in self.documents.values()):
                raise Refused(
                    400,
                    f"Field `{each['name']}` has been declared in the schema, but is not found in the documents "
                    "already present in the collection. If you still want to add this field, "
                    "set it as `optional: true`.",
                )
        dropped = {each["name"] for each in fields if each.get("drop")}
        self.fields = [each for each in self.fields if each["name"] not in dropped]
        self.fields += [each for each in fields if not each.get("drop")]

    def write(self, document: dict[str, Any], action: str) -> dict[str, Any]:
        """Create, update, upsert or emplace a document, and return it."""
        document_id = document.get("id")
        if document_id is None and action != "update":
            document_id = str(self._next_id)
            self._next_id += 1
        if not isinstance(document_id, str):
            raise Refused(400, "Document's `id` field should be a string.")
        before = self.documents.get(document_id)
        if action == "create" and before is not None:
            raise Refused(409, f"A document with id {document_id} already exists.")
        if action == "update" and before is None:
            raise Refused(404, f"Could not find a document with id: {document_id}")
        keeps = action in {"update", "emplace"}
        after = {**(before or {} if keeps else {}), **document, "id": document_id}
        self._check(after)
        self.documents[document_id] = {name: value for name, value in after.items() if value is not None}
        return self.documents[document_id]

    def get(self, document_id: str) -> dict[str, Any]:
        """Return a document."""
        if document_id not in self.documents:
            raise Refused(404, f"Could not find a document with id: {document_id}")
        return self.documents[document_id]

    def remove(self, document_id: str) -> dict[str, Any]:
        """Delete a document, and return it."""
        document = self.get(document_id)
        del self.documents[document_id]
        return document

    def export(self, query: Mapping[str, str]) -> bytes:
        """Return the documents, one a line."""
        wanted = query.get("include_fields")
        names = wanted.split(",") if wanted else None
        return b"\n".join(orjson.dumps(_only(each, names)) for each in self._filtered(query.get("filter_by", "")))

    def search(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of what is found: each word begins a word of a field, or lies within one (infix)."""
        size = int(query.get("per_page") or query.get("limit") or _PAGE)
        if size > PAGE_MOST:
            raise Refused(422, f"Only upto {PAGE_MOST} hits can be fetched per page.")
        fields = query["query_by"].split(",")
        for name in fields:
            if not any(each["name"] == name and each["type"].startswith("string") for each in self.fields):
                raise Refused(404, f"Could not find a field named `{name}` in the schema.")
        found = [each for each in self._filtered(query.get("filter_by", "")) if self._matches(each, fields, query)]
        start = int(query.get("offset") or (int(query.get("page") or 1) - 1) * size)
        names = query["include_fields"].split(",") if query.get("include_fields") else None
        return {
            "found": len(found),
            "out_of": len(self.documents),
            "page": start // size + 1 if size else 1,
            "search_cutoff": False,
            "search_time_ms": 0,
            "hits": [{"document": _only(each, names)} for each in found[::-1][start : start + size]],
        }

    def _check(self, document: dict[str, Any]) -> None:
        for each in self.fields:
            name, value = each["name"], document.get(each["name"])
            if value is None:
                if not each.get("optional"):
                    raise Refused(
                        400, f"Field `{name}` has been declared in the schema, but is not found in the document."
                    )
            elif each["type"] in _TYPES and not _is(value, each["type"]):
                raise Refused(400, f"Field `{name}` must be an {each['type']}.")

    def _matches(self, document: dict[str, Any], fields: Sequence[str], query: Mapping[str, str]) -> bool:
        if query["q"] == "*":
            return True
        words = _words(query["q"])
        infixed = {each["name"] for each in self.fields if each.get("infix")}
        here = [(word, name in infixed) for name in fields for word in _words(str(document.get(name, "")))]
        within = query.get("infix", "off") != "off"
        begins = query.get("prefix", "true") == "true"

        def is_there(wanted: str) -> bool:
            return any(
                word == wanted or (begins and word.startswith(wanted)) or (within and has_infix and wanted in word)
                for word, has_infix in here
            )

        return bool(words) and all(is_there(word) for word in words)

    def _filtered(self, filter_by: str) -> Iterator[dict[str, Any]]:
        conditions = [self._condition(part) for part in filter_by.split("&&")] if filter_by.strip() else []
        for document in self.documents.values():
            if all(_holds(document.get(name), sign, values) for name, sign, values in conditions):
                yield document

    def _condition(self, text: str) -> tuple[str, str, list[str]]:
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise Refused(400, "Could not parse the filter query.")
        name, sign, value = found["name"], found["sign"], found["value"]
        if name != "id" and not any(each["name"] == name for each in self.fields):
            raise Refused(404, f"Could not find a filter field named `{name}` in the schema.")
        listed = value[1:-1].split(",") if value.startswith("[") and value.endswith("]") else [value]
        return name, sign, [each.strip().strip("`") for each in listed]


def _holds(value: Any, sign: str, wanted: Sequence[str]) -> bool:
    """Return whether a value fits; a document without the field fits nothing but `!=`."""
    if value is None:
        return sign == "!="
    if isinstance(value, str):
        same = any(_words(value) == _words(one) if sign == "=" else _contains(value, one) for one in wanted)
        return same is not (sign == "!=")
    if isinstance(value, bool):
        return any(one == str(value).lower() for one in wanted)
    numbers = [float(one) for one in wanted]
    compare = _COMPARISONS.get(sign)
    return compare(value, numbers[0]) if compare else (value in numbers) is not (sign == "!=")


def _contains(value: str, wanted: str) -> bool:
    return set(_words(wanted)) <= set(_words(value))


def _is(value: Any, kind: str) -> bool:
    if kind in {"int32", "int64"}:
        most = 2 ** (31 if kind == "int32" else 63)
        return isinstance(value, int) and not isinstance(value, bool) and -most <= value < most
    return isinstance(value, _TYPES[kind]) or (kind == "float" and isinstance(value, int))


def _only(document: dict[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    return document if names is None else {name: document[name] for name in names if name in document}


def _words(text: str) -> list[str]:
    """Return the words as they are indexed: in lower case, without accents and signs."""
    bare = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return [word for word in (re.sub(r"[\W_]", "", part) for part in bare.lower().split()) if word]
