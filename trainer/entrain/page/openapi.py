"""The description of the API that is served as /openapi.json (OpenAPI 3.1)."""

from collections.abc import Mapping, Sequence
from typing import Any

from entrain.page.control import MOST_SETTINGS
from entrain.version import __version__

Described = dict[str, Any]

_TEXT: Mapping[str, Any] = {"type": "string"}
_NUMBER: Mapping[str, Any] = {"type": "integer", "minimum": 0}


def _parameter(name: str, words: str, schema: Mapping[str, Any], **more: Any) -> Described:
    return {"name": name, "in": "query", "description": words, "schema": dict(schema), **more}


def answer_of(
    words: str, *, content: str = "application/json", parameters: Sequence[Described] = ()
) -> Described:
    """Describes the answer to one GET."""
    return {
        "get": {
            "summary": words,
            "parameters": list(parameters),
            "responses": {
                "200": {"description": "As asked", "content": {content: {}}},
                "401": {"description": "No token of this page was shown"},
                "421": {"description": "The header Host has a name that is not the page's"},
                "429": {"description": "Too many requests"},
            },
        }
    }


def openapi() -> Described:
    """Returns the whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "A run of entrain",
            "version": __version__,
            "description": "How one training run stands. A number that is not known is null.",
        },
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}, {}],
        "paths": {
            **_read(),
            **_controlled(),
            "/api/events": answer_of(
                "The status as server-sent events, once a second where it changed; at most 32 "
                "streams",
                content="text/event-stream",
            ),
        },
    }


def _read() -> dict[str, Described]:
    """The routes that tell something: {path: its description}."""
    return {
        "/healthz": answer_of("Whether the process answers", content="text/plain"),
        "/readyz": answer_of(
            "Whether simulators may dial in: 503 before it listens and while it ends",
            content="text/plain",
        ),
        "/metrics": answer_of("All numbers, as Prometheus scrapes them", content="text/plain"),
        "/api/status": answer_of("Phase, progress, policies, alarms, and the first 64 simulators"),
        "/api/metrics": answer_of(
            "Curves of one policy: of each row the least, mean and largest value",
            parameters=[
                _parameter("policy", "Its name", _TEXT, required=True),
                _parameter(
                    "name",
                    "A metric; may be repeated. Without it, all",
                    {"type": "array", "items": dict(_TEXT)},
                ),
                _parameter("after", "Rows that begin with this update or later", _NUMBER),
                _parameter("points", "Rows at most, 1 to 400", _NUMBER),
            ],
        ),
        "/api/simulators": answer_of("Who takes part, since when, how fast, and how they wait"),
        "/api/log": answer_of(
            "The newest lines of the log",
            parameters=[_parameter("after", "Lines behind this number", _NUMBER)],
        ),
        "/api/config": answer_of("The run's configuration, as YAML", content="text/plain"),
        "/api/artefacts": answer_of("Files of the run's folder that may be downloaded"),
        "/api/artefacts/{name}": _with_name(
            answer_of("One of them", content="application/octet-stream")
        ),
    }


def _controlled() -> dict[str, Described]:
    """The routes by which something is asked of the run."""
    return {
        "/api/checkpoint": _post("Write a checkpoint as soon as no update runs"),
        "/api/stop": _post("Save and stop; `entrain resume` goes on"),
        "/api/pause": _post(
            "Stand still after the batch and the update of now: simulators wait, nothing is "
            "dropped or counted"
        ),
        "/api/go-on": _post("Let a paused run go on"),
        "/api/export": _post(
            "Write the policies as ONNX or JSON into the run's folder, from a checkpoint of now",
            {"format": {"type": "string", "enum": ["onnx", "unity", "json"], "default": "onnx"}},
        ),
        "/api/change": _post(
            "Change rates and coefficients of policies, or environment parameters, before an "
            "update begins",
            {
                "set": {
                    "type": "array",
                    "items": dict(_TEXT),
                    "minItems": 1,
                    "maxItems": MOST_SETTINGS,
                    "description": "Each PATH=VALUE, as --set takes it",
                },
                "from_update": {
                    "type": ["integer", "null"],
                    "minimum": 1,
                    "description": "The number of that update; null: the next one",
                },
            },
            required=["set"],
        ),
    }


def _post(
    words: str,
    properties: Mapping[str, Described] | None = None,
    required: Sequence[str] = (),
) -> Described:
    """For the control token alone."""
    schema: Described = {"type": "object", "properties": dict(properties or {})}
    if required:
        schema["required"] = list(required)
    return {
        "post": {
            "summary": words,
            "requestBody": {"content": {"application/json": {"schema": schema}}},
            "responses": {
                "202": {"description": "It is asked for", "content": {"application/json": {}}},
                "400": {"description": "It cannot be done; `error` says why"},
                "401": {"description": "No token of this page was shown"},
                "403": {"description": "Not the control token, or sent by another page"},
                "415": {"description": "Not sent as application/json"},
            },
        }
    }


def _with_name(path: Described) -> Described:
    named = {"name": "name", "in": "path", "required": True, "schema": dict(_TEXT)}
    path["get"]["parameters"].append(named)
    return path
