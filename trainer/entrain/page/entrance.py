"""Lets browsers in: a one-time code, or a token that a person typed, is traded for a cookie.

It also serves templates and static files, which every page needs. It does not know their content.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from entrain.page.access import Access, Right
from entrain.page.guard import LOGIN, STATIC, refused

PAGE = Path(__file__).parent
"""The folder of templates/ and static/ that all pages have."""

MOST_BODY_BYTES = 4096
COOKIE_S = 30 * 24 * 3600

_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Entrance:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        access: Access,
        *,
        is_secure: bool,
        failed: Callable[[str], Response],
        folders: Sequence[Path] = (PAGE,),
    ) -> None:
        """Read the templates and static files.

        Args:
            access: knows tokens, codes and cookies.
            is_secure: whether the page is served over TLS.
            failed: makes the answer to a peer that showed something wrong.
            folders: with templates/ and static/; of two files of one name the first counts.
        """
        self._access = access
        self._is_secure = is_secure
        self._failed = failed
        self._static = {
            path.name: path
            for folder in reversed(folders)
            for path in (folder / "static").iterdir()
            if path.suffix in _KINDS
        }
        self._templates = Environment(
            loader=FileSystemLoader([folder / "templates" for folder in folders]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def routes(self) -> list[Route]:
        """The routes for the login and for static files."""
        return [
            Route(LOGIN, self._login, methods=["POST"]),
            Route(f"{STATIC}{{name}}", self._answer_static),
        ]

    def render(self, code: int, template: str, **values: object) -> Response:
        """A page; `code` is that of the answer."""
        return HTMLResponse(self._templates.get_template(template).render(**values), code)

    def stops(self, request: Request) -> Response | None:
        """The answer to a browser without a right or with a code; None if it may see the page."""
        code = request.query_params.get("code")
        if code is not None:
            return self._redeem(request, code)
        if request.state.right < Right.READ:
            return self.render(401, "login.html", is_spent="spent" in request.query_params)
        return None

    def _redeem(self, request: Request, code: str) -> Response:
        right = self._access.redeem(code)
        # A browser with a cookie keeps its right if the code is spent.
        response = RedirectResponse("/" if right or request.state.right else "/?spent=1", 303)
        if right:
            self._set_cookie(response, right)
        elif not request.state.right:
            failed = self._failed(_peer(request))
            return failed if failed.status_code == 429 else response
        return response

    async def _login(self, request: Request) -> Response:
        asked = await json_of(request)
        token = asked.get("token") if isinstance(asked, dict) else None
        right = self._access.of_token(token) if isinstance(token, str) else Right.NOTHING
        if not right:
            return self._failed(_peer(request))
        response = JSONResponse({"right": right.name.lower()})
        self._set_cookie(response, right)
        return response

    def _set_cookie(self, response: Response, right: Right) -> None:
        response.set_cookie(
            self._access.cookie_name,
            self._access.cookie_for(right),
            max_age=COOKIE_S,
            httponly=True,
            secure=self._is_secure,
            samesite="strict",
        )

    async def _answer_static(self, request: Request) -> Response:
        path = self._static.get(request.path_params["name"])
        if path is None:
            return refused(404, "there is no such file")
        return FileResponse(
            path, media_type=_KINDS[path.suffix], headers={"Cache-Control": "no-cache"}
        )


async def json_of(request: Request) -> object:
    """The JSON value of a request's body; None if it is not JSON, or too long."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MOST_BODY_BYTES:
            return None
    try:
        parsed: object = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return parsed


def _peer(request: Request) -> str:
    return request.client.host if request.client else "unknown"
