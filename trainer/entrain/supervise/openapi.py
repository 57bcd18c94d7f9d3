"""The description of the API of several runs, served as /openapi.json (OpenAPI 3.1)."""

from collections.abc import Mapping
from typing import Any

from entrain.page.openapi import Described, answer_of
from entrain.version import __version__

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
            "/healthz": answer_of("Whether the process answers", content="text/plain"),
            "/readyz": answer_of(
                "Whether the directory is read and runs are started: 503 if not",
                content="text/plain",
            ),
            "/metrics": answer_of("All numbers, as Prometheus scrapes them", content="text/plain"),
            "/api/runs": answer_of("All runs: state, progress, restarts, where simulators dial"),
            "/api/curves": answer_of(
                "One metric of one policy of all runs, and means over those that differ only in "
                "their seed",
                parameters=[
                    _parameter("metric", "One of `metrics` in the answer"),
                    _parameter("policy", "Its name; without it, the first"),
                    _parameter("axis", "env_steps or seconds"),
                ],
            ),
            "/api/log": answer_of(
                "The newest lines of the supervisor's log",
                parameters=[_parameter("after", "Lines behind this number")],
            ),
            "/api/events": answer_of(
                "What /api/runs says as server-sent events, once a second where it changed; at "
                "most 32 streams",
                content="text/event-stream",
            ),
        },
    }


def _parameter(name: str, words: str) -> Described:
    return {"name": name, "in": "query", "description": words, "schema": dict(_TEXT)}
