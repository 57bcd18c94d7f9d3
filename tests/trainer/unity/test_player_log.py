"""The end of an engine's log is told on one line; what it is known to mean, with a remedy."""

from pathlib import Path

import pytest

from entrain.unity.player_log import MOST_CHARACTERS, TAIL_BYTES, cause_in, last_words


def log_of(folder: Path, text: str) -> Path:
    path = folder / "Player-0.log"
    path.write_text(text)
    return path


def test_the_last_lines_that_tell_of_trouble_are_quoted_without_their_traces(
    tmp_path: Path,
) -> None:
    log = log_of(
        tmp_path,
        "Initialize engine version: 6000.0\n"
        "NullReferenceException: Object reference not set\n"
        "  at Ball.FixedUpdate () [0x00000] in Ball.cs:12\n"
        "\n"
        "(Filename: Ball.cs Line: 12)\n"
        "Caught fatal signal - signo:11\n"
        "#0  0x007f in raise error\n",
    )
    assert last_words([log]) == (
        "NullReferenceException: Object reference not set | Caught fatal signal - signo:11"
    )


def test_without_trouble_the_last_line_is_quoted(tmp_path: Path) -> None:
    assert last_words([log_of(tmp_path, "one\n\x1b[31mtwo\x07\n\n")]) == "[31mtwo"


def test_what_was_printed_is_quoted_if_the_engine_wrote_nothing(tmp_path: Path) -> None:
    printed = tmp_path / "game-0.log"
    printed.write_text("error while loading shared libraries: libGL.so.1: no such file\n")
    absent = tmp_path / "Player-0.log"
    assert last_words([absent, printed]).startswith("error while loading shared libraries")
    assert last_words([absent]) == ""


def test_a_log_without_end_is_quoted_at_a_length_that_people_can_read(tmp_path: Path) -> None:
    log = log_of(tmp_path, "an error " * TAIL_BYTES + "\n" + "Exception: x\n" * 1000)
    assert len(last_words([log])) < 5 * MOST_CHARACTERS
    log = log_of(tmp_path, "an error " * TAIL_BYTES)
    assert len(last_words([log])) < 2 * MOST_CHARACTERS


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "Couldn't connect to trainer on port 5006 using API version 1.5.0. Will perform "
            "inference instead.",
            "it dialled port 5006 and found no trainer there",
        ),
        ("InitializeEngineGraphics failed", "unity.launch.no_graphics"),
        ("Unable to open display", "xvfb-run"),
        (
            "Status(StatusCode=ResourceExhausted, Received message larger than max)",
            "raise server.max_message_mib",
        ),
        (
            "./Ball: error while loading shared libraries: libGL.so.1: cannot open",
            "the system lacks the library libGL.so.1;",
        ),
        ("./Ball: /lib/libm.so.6: version `GLIBC_2.38' not found", "built for another system"),
        (
            "Communication protocol between python (1.5.0) and Unity (2.0.0) have different "
            "versions which make them incompatible. Python library version: 1.1.0.",
            "its ML-Agents package",
        ),
        ("Desktop is 1920 x 1080 @ 60 Hz", ""),
    ],
)
def test_what_the_engine_says_is_explained_where_it_is_known(
    line: str, told: str, tmp_path: Path
) -> None:
    cause = cause_in([log_of(tmp_path, f"Mono path\n{line}\nUnloading assets\n")])
    assert told in cause
    assert bool(cause) == bool(told)
    assert "\n" not in cause
