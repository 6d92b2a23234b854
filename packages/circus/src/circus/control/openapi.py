"""The description of the API for programs: OpenAPI 3.1, made of the rows of `catalog`. Pure."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

import circus
from circus.control import catalog, schema
from circus.control.catalog import EVENT_STREAM, JSON, Operation

_REF = "#/components/schemas/{name}"

#: The statuses that any operation may answer with; errors.TABLE has their codes.
_ERRORS = {
    "4XX": "It cannot be done as it was asked: see code, message and hint",
    "5XX": "circusd could not answer: see code, message and hint",
}


@functools.cache
def document() -> bytes:
    return msgspec.json.encode(describe())


def describe() -> dict[str, Any]:
    types: list[type[msgspec.Struct]] = [schema.ErrorAnswer]
    for operation in catalog.OPERATIONS:
        types += [kind for kind in (operation.answer, operation.body, operation.query) if kind is not None]
    schemas_of, components = msgspec.json.schema_components(types, schema_hook=anything, ref_template=_REF)
    by_type = dict(zip(types, schemas_of, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in catalog.OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, by_type, components)
    queries = {kind.__name__ for kind in (each.query for each in catalog.OPERATIONS) if kind is not None}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "circusd",
            "version": circus.__version__,
            "description": "Everything that can be done with a circusd and seen of it.",
        },
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": {name: one_line_each(each) for name, each in components.items() if name not in queries},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Over TCP; a unix socket knows its peer"}
            },
        },
    }


def one_line_each(shape: Any) -> Any:
    """``shape`` with descriptions in one line, not as they stand in the source."""
    if isinstance(shape, dict):
        return {
            key: " ".join(each.split()) if key == "description" and isinstance(each, str) else one_line_each(each)
            for key, each in shape.items()
        }
    return [one_line_each(each) for each in shape] if isinstance(shape, list) else shape


def anything(kind: type) -> dict[str, Any]:
    """The schema hook for what may be any value."""
    if kind is object:
        return {"description": "Anything"}
    raise NotImplementedError


def _operation(operation: Operation, by_type: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    if operation.query is not None:
        shape = components[operation.query.__name__]
        required = shape.get("required", ())
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": each}
            for name, each in shape["properties"].items()
        ]
    if operation.resumes:
        parameters.append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "required": False,
                "schema": {"type": "string"},
                "description": "Goes on behind this one",
            }
        )
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": f"Needs the right `{operation.verb}`" + (" for all watchers." if operation.whole else "."),
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done", "content": _content(operation, by_type)},
            **{
                status: {"description": text, "content": {JSON: {"schema": by_type[schema.ErrorAnswer]}}}
                for status, text in _ERRORS.items()
            },
        },
    }
    if operation.body is not None:
        described["requestBody"] = {"required": False, "content": {JSON: {"schema": by_type[operation.body]}}}
    return described


def _content(operation: Operation, by_type: dict[Any, Any]) -> dict[str, Any]:
    kinds = [media for media in (operation.media, operation.media_too) if media]
    return {media: {"schema": _answer(operation, media, by_type)} for media in kinds}


def _answer(operation: Operation, media: str, by_type: dict[Any, Any]) -> dict[str, Any]:
    if media == JSON:
        found: dict[str, Any] = {"type": "object"} if operation.answer is None else by_type[operation.answer]
        return found
    return {"type": "string", **({"description": "Server-sent events"} if media == EVENT_STREAM else {})}
