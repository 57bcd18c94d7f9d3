"""The routes by which a run is controlled. `Guard` lets only the control token through to them."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from entrain.page.entrance import json_of
from entrain.page.facts import Form, RefusedError, Source
from entrain.page.guard import refused

MOST_SETTINGS = 20

_FORMS: Final[Mapping[object, Form]] = {
    "onnx": "onnx",
    "unity": "unity",
    "json": "json",
}


class Controls:
    """See the module."""

    def __init__(self, source: Source, *, asked: Callable[[], None] = lambda: None) -> None:
        """Ask `source`; call `asked` whenever something may have changed by that."""
        self._source = source
        self._asked = asked

    def routes(self) -> list[Route]:
        """All of them."""
        answers = {
            "/api/checkpoint": self._checkpoint,
            "/api/stop": self._stop,
            "/api/pause": self._pause,
            "/api/go-on": self._go_on,
            "/api/export": self._export,
            "/api/change": self._change,
        }
        return [Route(path, answer, methods=["POST"]) for path, answer in answers.items()]

    async def _checkpoint(self, _request: Request) -> Response:
        self._source.save()
        return _asked("a checkpoint is written as soon as no update runs")

    async def _stop(self, _request: Request) -> Response:
        self._source.stop()
        return _asked("the run saves and stops")

    async def _pause(self, _request: Request) -> Response:
        return self._try(
            self._source.pause, "the run stands still after the batch and the update of now"
        )

    async def _go_on(self, _request: Request) -> Response:
        return self._try(self._source.go_on, "the run goes on")

    async def _export(self, request: Request) -> Response:
        asked = await _object(request)
        form = None if asked is None else _FORMS.get(asked.get("format", "onnx"))
        if form is None:
            return refused(400, f"format is one of {', '.join(map(str, _FORMS))}")
        return self._try(
            lambda: self._source.export(form),
            "a checkpoint is written, and the policies are exported from it",
        )

    async def _change(self, request: Request) -> Response:
        asked = await _object(request) or {}
        settings, number = asked.get("set"), asked.get("from_update")
        is_list = isinstance(settings, list) and all(isinstance(it, str) for it in settings)
        if settings is None or not is_list or not 0 < len(settings) <= MOST_SETTINGS:
            return refused(
                400,
                f"set is a list of 1 to {MOST_SETTINGS} texts PATH=VALUE, such as "
                "policies.walker.algorithm.learning_rate=1e-4",
            )
        if number is not None and (type(number) is not int or not 1 <= number < 2**53):
            return refused(400, "from_update is the number of an update, from 1, or null")
        return self._try(
            lambda: self._source.change(settings, from_update=number),
            "it changes before the next update" if number is None else f"from update {number} on",
        )

    def _try(self, ask: Callable[[], None], words: str) -> Response:
        try:
            ask()
        except RefusedError as error:
            return refused(400, str(error))
        self._asked()
        return _asked(words)


def _asked(words: str) -> Response:
    return JSONResponse({"asked": words}, 202)


async def _object(request: Request) -> Mapping[str, Any] | None:
    """The JSON object that a request holds; None if it holds none."""
    asked = await json_of(request)
    return asked if isinstance(asked, dict) else None
