"""Each metric is declared once, whole, and found by its name."""

import math
import re
from pathlib import Path

import pytest

from entrain.config.load import json_schema
from entrain.metric import Metric
from entrain.metrics import (
    ENTROPY,
    ENTROPY_OF_DIMENSION,
    KL,
    METRICS,
    SIGMA,
    find_metric,
    require_declared,
)

DOCS = Path(__file__).parents[2] / "docs"


def test_no_two_metrics_have_one_name() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names) > 30


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_is_declared_in_whole_sentences(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z]+/[a-z_0-9]+(/N|/NAME)?", metric.name)
    for text in (metric.meaning, metric.remedy):
        assert re.match(r"[A-Z0-9`]", text), text
        assert text.endswith("."), text
        assert "  " not in text, text
    assert not metric.when or re.match(r"(if|for|once) ", metric.when)
    assert metric.text(0.25)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_its_words_name_only_metrics_and_options_and_pages_that_there_are(metric: Metric) -> None:
    options, values = names_in_schema()
    text = f"{metric.meaning} {metric.remedy} {metric.when}"
    for word in re.findall(r"`([^`]+)`", text):
        option, _, value = word.partition(": ")
        is_metric = any(word == other.name for other in METRICS)
        is_option = option.split(".")[-1] in options and (not value or value in values)
        assert is_metric or is_option or word in values, word
    for page in re.findall(r"docs/\w+\.md", text):
        assert (DOCS.parent / page).is_file()


def names_in_schema() -> tuple[set[str], set[str]]:
    """Of every option, and of every word that one may be set to."""
    options: set[str] = set()
    values: set[str] = set()

    def walk(schema: object) -> None:
        if isinstance(schema, dict):
            properties = schema.get("properties")
            options.update(properties if isinstance(properties, dict) else ())
            values.update(str(value) for value in schema.get("enum", ()))
            for each in schema.values():
                walk(each)
        elif isinstance(schema, list):
            for each in schema:
                walk(each)

    walk(json_schema())
    return options, values


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("policy/kl", KL),
        ("policy/sigma/0", SIGMA),
        ("policy/sigma/12", SIGMA),
        ("policy/entropy", ENTROPY),
        ("policy/entropy/3", ENTROPY_OF_DIMENSION),
        ("policy/sigma", None),
        ("policy/sigma/", None),
        ("policy/sigma/N", None),
        ("policy/sigma/1/2", None),
        ("policy/sigma/-1", None),
        ("policy/kl/0", None),
        ("policy/mood", None),
        ("", None),
    ],
)
def test_a_name_belongs_to_one_metric_or_to_none(name: str, metric: Metric | None) -> None:
    assert find_metric(name) is metric


def test_the_members_of_a_family_belong_to_it() -> None:
    assert SIGMA.of(7) == "policy/sigma/7"
    assert find_metric(SIGMA.of(7)) is SIGMA


def test_names_that_are_not_declared_are_told_with_the_place_to_declare_them() -> None:
    require_declared(["policy/kl", "policy/sigma/0"])
    with pytest.raises(ValueError, match=r"called 'x', 'policy/y'; declare .*entrain/metrics\.py"):
        require_declared(["policy/kl", "x", "policy/y"])


def test_a_number_is_shown_in_its_own_form_and_an_unknown_one_as_a_dash() -> None:
    assert ENTROPY.text(1.2345) == "1.23"
    assert SIGMA.text(0.45678) == "0.457"
    assert KL.text(math.nan) == "-"
