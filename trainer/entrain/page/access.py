"""Who may read a run's page, and who may act on the run: decided from a request's headers.

A program shows a token in `Authorization: Bearer TOKEN`. A browser trades a one-time code, or a
token that a person typed, for a cookie that is derived from the token: it needs no table, and ends
with the token. Nothing here sends anything.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256


class Right(IntEnum):
    """The rights of a request; each includes those before."""

    NOTHING = 0
    READ = 1
    CONTROL = 2


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The secrets of one run."""

    read: str = field(repr=False)
    control: str = field(repr=False)


@dataclass(frozen=True)
class Shown:
    """The credentials that a request showed."""

    right: Right
    is_wrong: bool = False
    """Whether it showed a token that is not the run's."""

    by_bearer: bool = False
    """Whether the right comes from a bearer token, which no other site can make a browser send."""


class Access:
    """Checks tokens, codes and cookies of requests. Owned by the event loop."""

    def __init__(self, tokens: Tokens, *, port: int, is_open: bool) -> None:
        """Make a one-time code.

        Args:
            tokens: of the run.
            port: of the page; two runs on one machine have cookies of their own.
            is_open: whether everyone may read, as on loopback.
        """
        self._tokens = {Right.CONTROL: tokens.control, Right.READ: tokens.read}
        self._is_open = is_open
        self.cookie_name = f"entrain-{port}"
        self.code = secrets.token_urlsafe(24)
        """Gives one browser the right to control, once."""

    def shown(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Shown:
        """Returns the right of a request with these headers, names in lower case, and cookies."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme:
            right = self.of_token(token.strip()) if scheme.lower() == "bearer" else Right.NOTHING
            return Shown(right, is_wrong=not right, by_bearer=bool(right))
        everyone = Right.READ if self._is_open else Right.NOTHING
        cookie = cookies.get(self.cookie_name, "")
        if not cookie:
            return Shown(everyone)
        right = next((it for it in self._tokens if _is(cookie, self._cookie(it))), everyone)
        return Shown(right)

    def of_token(self, token: str) -> Right:
        """Returns the right that `token` gives."""
        return next((it for it, known in self._tokens.items() if _is(token, known)), Right.NOTHING)

    def cookie_for(self, right: Right) -> str:
        """Returns what a browser shows from now on; `right` is READ or CONTROL."""
        return self._cookie(right)

    def redeem(self, code: str) -> Right:
        """Returns the right that a one-time code gives, and spends it."""
        if not _is(code, self.code):
            return Right.NOTHING
        self.code = secrets.token_urlsafe(24)
        return Right.CONTROL

    def _cookie(self, right: Right) -> str:
        # A wrong token file must not make a cookie that can be guessed: the token is the key.
        return hmac.new(self._tokens[right].encode(), b"entrain cookie", sha256).hexdigest()


def _is(shown: str, secret: str) -> bool:
    return bool(shown) and hmac.compare_digest(shown.encode(), secret.encode())
