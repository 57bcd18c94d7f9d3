"""Settings made to exhaust the reader: refused in one line, before they cost time or memory."""

import tracemalloc
from pathlib import Path

import pytest

from entrain.config.load import MOST_BYTES, load_config
from entrain.errors import ConfigError


def levels(line: str) -> str:
    """Ten groups, each of which holds nine times the one before."""
    return "".join(
        line.format(here=f"a{n}", nine=", ".join([f"*a{n - 1}"] * 9)) for n in range(1, 10)
    )


LAUGHS = f"a0: &a0 [{', '.join('x' * 9)}]\n" + levels("{here}: &{here} [{nine}]\n")
MERGES = "a0: &a0 {x: 1}\n" + levels("{here}: &{here} {{<<: [{nine}]}}\n")
GROUPS = "".join(f"{{n{n}: " for n in range(3000))


def complaint(path: Path | None, *overrides: str) -> str:
    """What `load_config` says."""
    with pytest.raises(ConfigError) as raised:
        load_config(path, overrides)
    message = str(raised.value)
    assert len(message) < 600
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LAUGHS, "more than 20,000 names and values"),
        (MERGES, "more than 20,000 names and values"),
        ("environment_parameters:\n  <<: &a\n    <<: *a\n", "or does one contain itself?"),
        ("[" * 100_000, "more than 40 lists or groups"),
        (GROUPS, "more than 40 lists or groups"),
        ("environment_parameters: {" + "a: 1, " * 20_000, "more than 20,000 names and values"),
        ("seed: [" + "1, " * 20_000 + "1]", "more than 20,000 names and values"),
        ("seed: 1\n" + "#" * MOST_BYTES, "has more than 512 KiB"),
        ('runs_directory: "a\\0b"\n', "the character U+0000 is no text"),
        ('runs_directory: "a\\ud800"\n', "the character U+D800 is no text"),
        ('policies: {"a\\0b": {}}\n', "the character U+0000 is no text"),
        ("simulators: {launch: [{command: x, count: 1e9}]}\n", "server.max_sessions is 1,024"),
        (
            "simulators: {launch: [{command: x, count: 600}, {command: x, count: 600, name: b}]}\n",
            "the sum of simulators.launch.*.count is 1,200",
        ),
        ("simulators: {expect: 1000000000}\n", "simulators.expect is 1,000,000,000"),
        ("simulators: {launch: [{command: x, name: ../x}]}\n", "launch.0.name is '../x'"),
        ("simulators: {launch: [{command: x, name: /etc/x}]}\n", "launch.0.name is '/etc/x'"),
    ],
)
def test_a_hostile_file_is_refused_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "walk.yaml"
    path.write_text(text)
    assert expected in complaint(path)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (f"seed={'[' * 5000}", "more than 40 lists or groups"),
        ("name=a\0b", "the character U+0000 is no text"),
        ('name="a\\0b"', "the character U+0000 is no text"),
        ("policies.\udcff.total_steps=1", "the character U+DCFF is no text"),
    ],
)
def test_a_hostile_override_is_refused_in_one_line(override: str, expected: str) -> None:
    assert expected in complaint(None, override)


@pytest.mark.parametrize("text", [LAUGHS, MERGES, GROUPS])
def test_a_hostile_file_takes_little_memory(tmp_path: Path, text: str) -> None:
    path = tmp_path / "walk.yaml"
    path.write_text(text)
    tracemalloc.start()
    complaint(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


def test_a_file_without_an_end_is_refused() -> None:
    assert "has more than 512 KiB" in complaint(Path("/dev/zero"))


def test_a_path_with_a_nul_is_refused() -> None:
    assert "is no path: it holds the character U+0000" in complaint(Path("walk\0.yaml"))


def test_hundred_policies_with_every_option_are_still_read(tmp_path: Path) -> None:
    path = tmp_path / "walk.yaml"
    lines = "".join(f"  p{n}: {{total_steps: {n + 1}}}\n" for n in range(100))
    path.write_text(f"policies:\n{lines}")
    config = load_config(path, [])
    assert len(config.policies) == 100
