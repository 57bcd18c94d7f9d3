"""The description of the API of several runs, served as /openapi.json (OpenAPI 3.1)."""

from collections.abc import Mapping, Sequence
from typing import Any

from entrain import __version__

_TEXT: Mapping[str, Any] = {"type": "string"}


def openapi() -> Mapping[str, Any]:
    """Returns the whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Runs of entrain",
            "version": __version__,
            "description": "Which runs there are and how they do. A number that is not known is "
            "null. A run has an API of its own at its `page_port`.",
        },
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}, {}],
        "paths": {
            "/healthz": _get("Whether the process answers", content="text/plain"),
            "/readyz": _get(
                "Whether the directory is read and runs are started: 503 if not",
                content="text/plain",
            ),
            "/metrics": _get("All numbers, as Prometheus scrapes them", content="text/plain"),
            "/api/runs": _get("All runs: state, progress, restarts, where simulators dial"),
            "/api/curves": _get(
                "One metric of one policy of all runs, and means over those that differ only in "
                "their seed",
                parameters=[
                    _parameter("metric", "One of `metrics` in the answer"),
                    _parameter("policy", "Its name; without it, the first"),
                    _parameter("axis", "env_steps or seconds"),
                ],
            ),
            "/api/log": _get(
                "The newest lines of the supervisor's log",
                parameters=[_parameter("after", "Lines behind this number")],
            ),
            "/api/events": _get(
                "What /api/runs says as server-sent events, once a second where it changed; at "
                "most 32 streams",
                content="text/event-stream",
            ),
        },
    }


def _parameter(name: str, words: str) -> Mapping[str, Any]:
    return {"name": name, "in": "query", "description": words, "schema": dict(_TEXT)}


def _get(
    words: str,
    *,
    content: str = "application/json",
    parameters: Sequence[Mapping[str, Any]] = (),
) -> Mapping[str, Any]:
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
