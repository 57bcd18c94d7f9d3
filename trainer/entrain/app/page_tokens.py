"""The secrets of a run's page: from files that the configuration names, or made at the start.

What is made is kept in page.json in the run's folder, which only its owner can read, so that a
browser that was let in stays so when the run is resumed, and programs of this machine find it.
"""

import json
import os
import secrets
from pathlib import Path

from entrain.config.http import HttpConfig
from entrain.errors import ServeError
from entrain.page.access import Tokens
from entrain.run.disk import refused

LEAST_LENGTH = 16
"""Characters of a token that is given."""


def tokens_of(config: HttpConfig, path: Path, *, url: str) -> Tokens:
    """Returns the run's tokens, and writes them to page.json.

    Args:
        config: may name files of tokens.
        path: of page.json.
        url: where the page is.

    Raises:
        ServeError: a file of a token cannot be read, or its token is too short.
        DiskError: page.json cannot be written.
    """
    before = _kept(path)
    tokens = Tokens(
        read=_given(config.read_token_file, "http.read_token_file")
        or before.get("read_token")
        or secrets.token_urlsafe(32),
        control=_given(config.control_token_file, "http.control_token_file")
        or before.get("control_token")
        or secrets.token_urlsafe(32),
    )
    about = {"url": url, "read_token": tokens.read, "control_token": tokens.control}
    try:
        _write_privately(path, json.dumps(about, indent=2) + "\n")
    except OSError as error:
        raise refused(error, path) from error
    return tokens


def _kept(path: Path) -> dict[str, str]:
    """The tokens of an earlier sitting; none if other users could have read the file."""
    try:
        with path.open(encoding="utf-8") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                return {}
            about = json.load(file)
    except (OSError, ValueError):
        return {}
    names = ("read_token", "control_token")
    is_whole = isinstance(about, dict) and all(
        isinstance(about.get(name), str) and len(about[name]) >= LEAST_LENGTH for name in names
    )
    return {name: about[name] for name in names} if is_whole else {}


def _given(path: Path | None, option: str) -> str | None:
    if path is None:
        return None
    try:
        token = path.read_text(encoding="utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServeError(f"{option} is {path}, which cannot be read: {error}") from None
    if len(token) < LEAST_LENGTH:
        raise ServeError(
            f"{option} is {path}, whose first line has {len(token)} characters; a token has at "
            f"least {LEAST_LENGTH}: openssl rand -base64 32 > {path} makes one"
        )
    return token


def _write_privately(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    # Made with its mode, so that there is no moment in which others can read it.
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)
