"""Whatever stands in a file or behind `--set`: settings, or one line that says what is wrong."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from entrain.config.load import load_config, to_yaml
from entrain.config.overrides import set_option
from entrain.config.run import RunConfig
from entrain.config.schema import options
from entrain.config.source import Origin, Source, describe, show_path
from entrain.config.yaml_text import read_yaml
from entrain.errors import ConfigError

WORDS = [*sorted({str(path[-1]) for path, _ in options()}), "walker", "*", "0", "<<", "nmae"]
SIGNS = [": ", ":\n", "\n", "  ", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!int ", "|", "'"]
OTHERS = ['"', "\t", "#", "?", "---\n", "\x00", "1e-3", "64", "\ufeff", "\r\n", "\x85", "=", "\\"]

# What is no text at all is refused; see test_hostile_settings.
texts = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(texts, max_size=8)
    | st.sampled_from(["linear", "cpu", "localhost:1", "1e-3", "yes", ".inf", "2024-01-01"])
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(texts, max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
fragments = st.lists(st.sampled_from([*WORDS, *SIGNS, *OTHERS]), max_size=25).map("".join)


def settings_or_one_line(path: Path | None, overrides: list[str]) -> RunConfig | str:
    try:
        return load_config(path, overrides)
    except ConfigError as error:
        message = str(error)
        assert message
        assert len(message.splitlines()) == 1
        return message


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings") / "walk.yaml"


@settings(deadline=None, max_examples=150)
@given(text=fragments)
def test_any_text_is_settings_or_one_line(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
    settings_or_one_line(path, [])


@settings(deadline=None, max_examples=150)
@given(values=st.dictionaries(st.sampled_from(WORDS), anything, max_size=4))
def test_any_values_are_settings_or_one_line_with_a_place(
    values: dict[str, Any], path: Path
) -> None:
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    answer = settings_or_one_line(path, [])
    if isinstance(answer, str):
        assert answer.startswith(str(path))
    else:
        path.write_text(to_yaml(answer), encoding="utf-8")
        assert load_config(path, []) == answer


@settings(deadline=None, max_examples=150)
@given(argument=fragments)
@example(argument='"\r\n"')
def test_any_argument_of_set_is_settings_or_one_line(argument: str) -> None:
    answer = settings_or_one_line(None, [f"policies.walker.{argument}"])
    if isinstance(answer, str):
        assert answer.startswith("--set policies.walker.")


# Below `name`, say, there is nothing to set, and that is said: tested with the overrides.
no_options = st.text(texts, max_size=6).filter(lambda name: name not in RunConfig.model_fields)


@settings(deadline=None, max_examples=100)
@given(names=st.lists(no_options, min_size=1, max_size=4), value=st.integers())
def test_set_puts_a_value_where_its_path_says(names: list[str], value: int) -> None:
    source = Source({}, Origin("settings", (0, 0), ""))
    set_option(source, f"{show_path(tuple(names))}={value}", position=0)
    assert source.value(tuple(names)) == value
    assert source.origin(tuple(names)).written == str(value)


@settings(deadline=None, max_examples=60)
@given(values=st.dictionaries(st.text("abc *'#:.", max_size=4), anything, max_size=4))
def test_every_value_that_is_read_knows_its_line(values: dict[str, Any]) -> None:
    text = yaml.safe_dump(values, default_flow_style=False)
    source = read_yaml(text, name="walk.yaml")
    lines = text.count("\n")

    def check(value: Any, at: tuple[str | int, ...]) -> None:
        if at:
            assert 1 <= source.origins[at].order[1] <= lines
        inside = value.items() if isinstance(value, dict) else ()
        for part, item in enumerate(value) if isinstance(value, list) else inside:
            check(item, (*at, part))

    check(source.values, ())


def test_reading_changes_nothing_that_was_read_before() -> None:
    source = read_yaml("policies: {w: {total_steps: 5}}", name="walk.yaml")
    before = copy.deepcopy(source.values)
    source.origin(("policies", "w", "algorithm", "clip_range"))
    assert source.value(("policies", "w", "algorithm", "clip_range")) is None
    assert source.values == before


def test_the_origin_of_what_nobody_wrote_is_the_group_around_it() -> None:
    source = read_yaml("name: walk\npolicies:\n  w: {}\n", name="walk.yaml")
    assert source.origin(("policies", "w", "algorithm", "clip_range")).place == "walk.yaml:3"
    assert source.origin(("server", "address")).place == "walk.yaml"


@pytest.mark.parametrize(
    ("value", "written", "shown"),
    [
        (None, "", "empty"),
        ("many", "many", "'many'"),
        (0.001, "1e-3", "1e-3"),
        (True, "true", "true"),
        ([1], "", "a list"),
        ({}, "", "a group of options"),
        (3, "", "3"),
    ],
)
def test_a_value_is_shown_as_it_was_written(value: Any, written: str, shown: str) -> None:
    assert describe(value, written) == shown
