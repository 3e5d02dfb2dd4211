"""The tables of the Admin API's operations and their fields, for `scripts/docs.py`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from moorage.control.admin.audit import Audit
from moorage.control.admin.operations import BASE, Operation
from moorage.control.admin.questions import Questions
from moorage.control.admin.table import Operations
from moorage.wire.commands import DONE

Descriptions = Callable[[type[msgspec.Struct]], dict[str, str]]
Table = Callable[[str, list[list[str]]], list[str]]

_TYPES: Final = {
    "integer": "whole number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "number": "number",
}


def rows() -> tuple[Operation, ...]:
    """The operations that answer in JSON."""
    questions = Questions(lambda _: DONE, list)
    return Operations(questions, Audit("", float), list, {}).table().operations


def sections(describe: Descriptions, table: Table) -> Iterator[str]:
    """A section for each operation, then one for each kind of row in the answers. `describe` gives the
    descriptions of a struct's fields, `table` makes the lines of a table."""
    shown: dict[str, type[msgspec.Struct]] = {}
    for row in rows():
        yield f"### `{row.method} {BASE}{row.path}`"
        yield ""
        yield f"{row.summary}. Role `{row.role.shown}`."
        yield ""
        for title, kind in (("Parameter", row.query), ("Field of the body", row.body)):
            if kind is not None and msgspec.structs.fields(kind):
                yield from table(f"{title.replace(' ', '_')} Type Default Meaning", _given(kind, describe))
        yield f"Answer, {row.status}: {_sentence(row.answer)}"
        yield ""
        fields = _fields(row.answer, describe, shown)
        if fields:
            yield from table("Field Type Meaning", fields)
    done: set[str] = set()
    while left := [name for name in shown if name not in done]:
        for name in left:
            done.add(name)
            yield f"### {name}"
            yield ""
            yield _sentence(shown[name])
            yield ""
            yield from table("Field Type Meaning", _fields(shown[name], describe, shown))


def _sentence(kind: type[msgspec.Struct]) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


def _given(kind: type[msgspec.Struct], describe: Descriptions) -> list[list[str]]:
    told, schema = describe(kind), _schema(kind)
    found = []
    for field in msgspec.structs.fields(kind):
        default = schema["properties"][field.encode_name].get("default")
        shown = "required" if field.required else "" if default is None else f"`{default}`"
        type_ = _type(schema["properties"][field.encode_name], None)
        found.append(
            [f"`{field.encode_name}`", type_.removesuffix(" or null"), shown, told.get(field.name, "")]
        )
    return found


def _fields(
    kind: type[msgspec.Struct], describe: Descriptions, shown: dict[str, type[msgspec.Struct]]
) -> list[list[str]]:
    told, schema = describe(kind), _schema(kind)
    found = []
    for field in msgspec.structs.fields(kind):
        for each in _structs(field.type):
            shown.setdefault(each.__name__, each)
        type_ = _type(schema["properties"][field.encode_name], shown)
        found.append([f"`{field.encode_name}`", type_, told.get(field.name, "")])
    return found


def _structs(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for part in getattr(hint, "__args__", ()):
        yield from _structs(part)


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    _, found = msgspec.json.schema_components([kind], ref_template="#/{name}")
    schema: dict[str, Any] = found[kind.__name__]
    return schema


def _type(schema: dict[str, Any], shown: object) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(each, shown) for each in schema["anyOf"])
    if "$ref" in schema:
        return f"[{schema['$ref'][2:]}](#{schema['$ref'][2:].lower()})"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'], shown)}" if "items" in schema else "list"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"object of {_type(inner, shown)}" if isinstance(inner, dict) and inner else "object"
    text = _TYPES.get(schema.get("type", ""), "any")
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None and high < 10_000:
        text += f", {low} to {high}"
    if "maxLength" in schema:
        text += f", up to {schema['maxLength']} characters"
    return text
