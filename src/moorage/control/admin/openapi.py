"""The OpenAPI document of the Admin API, made from the table of operations and the structs of questions and
answers, so that it cannot say anything else than the code."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from moorage.control.admin.access.keys import Role
from moorage.control.admin.actions import ONE_OF, Target
from moorage.control.admin.operations import BASE, Operation, Table

_REFERENCE: Final = "#/components/schemas/{name}"
_REFUSED: Final = {"$ref": "#/components/responses/Refused"}


class Inner(msgspec.Struct, frozen=True):
    """`code`: the number of the reason, as text."""

    code: str
    inner: None


class Refusal(msgspec.Struct, frozen=True):
    """Why a request was refused. `code` is the name of a reason, `target` that of the operation."""

    code: str
    message: str
    target: str
    details: list[str]
    inner: Inner


def document(table: Table, version: str) -> dict[str, Any]:
    """The document. `version` is that of the package."""
    rows = table.operations
    kinds: list[Any] = [Refusal, *(row.answer for row in rows), *(row.query for row in rows)]
    kinds += [row.body for row in rows if row.body is not None]
    _, schemas = msgspec.json.schema_components(list(dict.fromkeys(kinds)), ref_template=_REFERENCE)
    for row in rows:
        if row.body is not None and issubclass(row.body, Target):
            schemas[row.body.__name__]["oneOf"] = [{"required": [name]} for name in ONE_OF]
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(BASE + row.path, {})[row.method.lower()] = _operation(row, schemas)
    queries = {row.query.__name__ for row in rows}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Moorage Admin API",
            "version": version,
            "description": "What a Moorage cluster does, and actions of operators. Any node answers for all.",
        },
        "security": [{"key": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "moorage_admin"},
            },
            "responses": {
                "Refused": {
                    "description": "Refused for the reason in the body",
                    "content": {"application/json": {"schema": _schema(Refusal)}},
                }
            },
            "schemas": {name: schema for name, schema in schemas.items() if name not in queries},
        },
    }


def _schema(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}


def _operation(row: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for part in row.path.split("/")
        if part.startswith("{")
    ]
    parameters += [
        _parameter(name, schema) for name, schema in schemas[row.query.__name__]["properties"].items()
    ]
    found: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.summary,
        "description": f"Needs the role `{row.role.shown}`.",
        "responses": {
            str(row.status): {
                "description": (row.answer.__doc__ or "").partition("\n")[0],
                "content": {
                    row.media: {"schema": _schema(row.answer) if row.is_json else {"type": "string"}}
                },
            },
            "400": _REFUSED,
            "401": _REFUSED,
            "default": _REFUSED,
        },
    }
    if row.role > Role.READ:
        found["responses"]["403"] = _REFUSED
    if parameters:
        found["parameters"] = parameters
    if row.body is not None:
        content = {"application/json": {"schema": _schema(row.body)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter of the query. One without a default is left out, never null."""
    choices = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    shown = {key: value for key, value in choices[0].items() if key != "default"}
    if schema.get("default") is not None:
        shown["default"] = schema["default"]
    return {"name": name, "in": "query", "required": False, "schema": shown}
