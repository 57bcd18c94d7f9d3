"""Settings that a Python program gives: dicts, models, paths and keywords."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entrain.config.keywords import require_known
from entrain.config.load import given_config, keyword_settings, load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError


def test_dicts_are_settings_as_a_file_would_have_them(tmp_path: Path) -> None:
    given = {
        "runs_directory": tmp_path,
        "seed": np.int64(3),
        "policies": {"walker": {"network": {"hidden_sizes": (8, 8)}}},
    }
    config = given_config(given, ["policies.walker.total_steps=50"])
    assert config.runs_directory == tmp_path
    assert config.seed == 3
    assert config.policies["walker"].network.hidden_sizes == (8, 8)
    assert config.policies["walker"].total_steps == 50
    assert given["policies"] == {"walker": {"network": {"hidden_sizes": (8, 8)}}}


def test_a_file_a_model_and_nothing_are_settings_too(tmp_path: Path) -> None:
    (tmp_path / "walk.yaml").write_text("seed: 5\n")
    assert given_config(tmp_path / "walk.yaml", []).seed == 5
    assert given_config(None, []) == RunConfig()
    made = RunConfig(seed=9)
    assert given_config(made, []) is made
    assert given_config(made, ["name=walk"]) == RunConfig(seed=9, name="walk")
    assert given_config({"server": made.server}, []).server == made.server


def test_keywords_are_settings_whose_names_have_two_underscores_between_them() -> None:
    settings = keyword_settings(
        {"server__address": "unix:/a b", "seed": 4, "policies": {"*": {"total_steps": 7}}}
    )
    config = load_config(None, settings)
    assert config.server.address == "unix:/a b"
    assert config.seed == 4
    assert config.policies["*"].total_steps == 7


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sede": 1}, "the settings given: a run has no option 'sede'; did you mean"),
        ({"seed": "many"}, "the settings given: seed is 'many'; it must be"),
        ({"policies": {"*": {"network": object()}}}, "the settings hold a object, <object"),
    ],
)
def test_a_mistake_is_told_as_in_a_file(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        given_config(given, [])


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"sede": 1}, "^the keyword sede: a run has no option 'sede'; did you mean 'seed'"),
        ({"seed": "many"}, "^the keyword seed: seed is 'many'; it must be an integer"),
        (
            {"policies__walker__toal_steps": 5},
            r"^the keyword policies__walker__toal_steps: policies\.walker has no option "
            "'toal_steps'; did you mean 'total_steps'",
        ),
        ({"seed__x": 5}, "^the keyword seed__x: seed has no options below it"),
    ],
)
def test_a_mistake_in_a_keyword_is_told_as_one(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        given_config({}, keyword_settings(keywords))


@pytest.mark.parametrize(
    ("keyword", "meant"),
    [("copys", "copies"), ("shw", "show"), ("server_address", "server__address")],
)
def test_a_misspelt_argument_or_separator_is_recognised(keyword: str, meant: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^the keyword {keyword}: entrain.train .* did you mean '{meant}'?"
    ):
        require_known([keyword], function="entrain.train", arguments=["copies", "show"])


def test_options_and_what_is_like_no_argument_are_told_of_elsewhere() -> None:
    names = ["seed", "server__address", "total_steps", "policies__walker__total_steps"]
    require_known(names, function="entrain.train", arguments=["copies", "show"])
