"""Every behaviour has file names of its own, on every file system, after every resume."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain.errors import ConfigError
from entrain.run.names import MAX_STEM, BehaviourNames, quoted

behaviours = st.text(max_size=150)
SAFE = re.compile(r"[A-Za-z0-9_.%+=,@~-]+")


@pytest.mark.parametrize("behaviour", ["walker", "3DBall", "HalfCheetah-v5", "balance_ball", "a.b"])
def test_an_ordinary_name_stays_as_it_is(behaviour: str) -> None:
    assert quoted(behaviour) == behaviour


@pytest.mark.parametrize(
    ("behaviour", "stem"),
    [
        ("Walker?team=0", "Walker%3Fteam=0"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("a\\b", "a%5Cb"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("", "%"),
        ("two words", "two%20words"),
        ("-rf", "%2Drf"),
        ("ends.", "ends%2E"),
        ("con", "%63on"),
        ("Aux.ball", "%41ux.ball"),
        ("console", "console"),
        ("Läufer", "L%C3%A4ufer"),
        ("50%", "50%25"),
        ("a:b", "a%3Ab"),
        ("nul\0", "nul%00"),
    ],
)
def test_a_name_unfit_for_a_file_is_quoted(behaviour: str, stem: str) -> None:
    assert quoted(behaviour) == stem


@given(behaviours)
def test_every_stem_is_safe_on_every_file_system(behaviour: str) -> None:
    stem = quoted(behaviour)
    assert SAFE.fullmatch(stem)
    assert len(stem) <= MAX_STEM
    assert stem[0] not in ".-"
    assert not stem.endswith(".")
    assert stem.split(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}


@given(behaviours, behaviours)
def test_different_behaviours_have_different_stems(one: str, other: str) -> None:
    assert (quoted(one) == quoted(other)) == (one == other)


def test_long_names_with_one_beginning_stay_apart() -> None:
    assert quoted("x" * 300) != quoted("x" * 301)


@given(st.lists(st.text("aAbB?%-2", max_size=4), max_size=12, unique=True))
def test_no_two_behaviours_share_a_stem_where_case_does_not_count(names: list[str]) -> None:
    # Nothing can be written there, so it is all in memory.
    table = BehaviourNames(Path("nowhere/behaviours.json"))
    stems = [table.stem(name).lower() for name in names]
    assert len(set(stems)) == len(names)


def test_stems_are_the_same_after_a_resume_in_another_order(tmp_path: Path) -> None:
    path = tmp_path / "behaviours.json"
    before = BehaviourNames(path)
    first = {name: before.stem(name) for name in ("Walker", "walker", "WALKER")}
    after = BehaviourNames(path)
    assert {name: after.stem(name) for name in ("WALKER", "walker", "Walker")} == first
    assert after.stems == first
    assert first["Walker"] == "Walker"


def test_asking_again_does_not_write_again(tmp_path: Path) -> None:
    path = tmp_path / "behaviours.json"
    names = BehaviourNames(path)
    names.stem("walker")
    path.unlink()
    assert names.stem("walker") == "walker"
    assert not path.exists()


def test_what_is_known_cannot_be_changed_from_outside(tmp_path: Path) -> None:
    names = BehaviourNames(tmp_path / "behaviours.json")
    names.stem("walker")
    names.stems["walker"] = "elsewhere"
    assert names.stem("walker") == "walker"


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"walker": 3})])
def test_a_damaged_table_is_refused_with_a_remedy(tmp_path: Path, content: str) -> None:
    path = tmp_path / "behaviours.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"behaviours\.json cannot be read.*remove it"):
        BehaviourNames(path)


def test_a_table_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "behaviours.json"
    path.write_text(json.dumps({"walker": "../../elsewhere"}), encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read"):
        BehaviourNames(path)


def test_a_table_that_cannot_be_written_is_only_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = BehaviourNames(tmp_path / "missing" / "behaviours.json")
    assert (names.stem("walker"), names.stem("WALKER")) == ("walker", "WALKER%-2")
    assert "behaviours.json cannot be written: No such file" in caplog.text
