"""The secrets of a run's page."""

import json
import stat
from pathlib import Path

import pytest

from entrain.app.page_tokens import tokens_of
from entrain.config.http import HttpConfig
from entrain.errors import ServeError

URL = "http://localhost:8080/"


def test_tokens_are_made_for_the_owner_alone_and_kept_for_the_next_sitting(tmp_path: Path) -> None:
    path = tmp_path / "page.json"
    tokens = tokens_of(HttpConfig(), path, url=URL)
    assert len({tokens.read, tokens.control}) == 2
    assert min(len(tokens.read), len(tokens.control)) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {
        "url": URL,
        "read_token": tokens.read,
        "control_token": tokens.control,
    }
    assert tokens_of(HttpConfig(), path, url=URL) == tokens


def test_tokens_that_others_may_have_read_are_not_used_again(tmp_path: Path) -> None:
    path = tmp_path / "page.json"
    tokens = tokens_of(HttpConfig(), path, url=URL)
    path.chmod(0o644)
    assert tokens_of(HttpConfig(), path, url=URL) != tokens
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "[]", '{"read_token": 1}', '{"read_token": "x"}', "\udce4"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    path.chmod(0o600)
    assert len(tokens_of(HttpConfig(), path, url=URL).control) >= 32


def test_a_token_may_be_given_in_a_file(tmp_path: Path) -> None:
    given = tmp_path / "token"
    given.write_text("0123456789abcdef\nnot this\n")
    tokens = tokens_of(HttpConfig(read_token_file=given), tmp_path / "page.json", url=URL)
    assert tokens.read == "0123456789abcdef"
    assert len(tokens.control) >= 32


def test_a_token_that_can_be_guessed_or_not_be_read_is_refused(tmp_path: Path) -> None:
    given = tmp_path / "token"
    path = tmp_path / "page.json"
    with pytest.raises(ServeError, match=r"http.control_token_file is .* cannot be read"):
        tokens_of(HttpConfig(control_token_file=given), path, url=URL)
    given.write_text("short\n")
    with pytest.raises(ServeError, match=r"5 characters.*at least 16: openssl rand"):
        tokens_of(HttpConfig(control_token_file=given), path, url=URL)
