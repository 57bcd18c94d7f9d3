"""Options of evaluating while training: who is launched for it, and what does not go together."""

import re
from pathlib import Path

import pytest

from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError

PAGE = Path(__file__).parents[3] / "docs" / "evaluation.md"


def loaded(folder: Path, text: str) -> RunConfig:
    path = folder / "run.yaml"
    path.write_text(text)
    return load_config(path, [])


def launched(config: RunConfig) -> list[tuple[str, int]]:
    """Name and count of what is launched for evaluations."""
    assert config.evaluation is not None
    entries = config.evaluation.simulators(config.simulators.launch)
    return [(entry.name, entry.count) for entry in entries]


LAUNCH = "simulators: {launch: [{command: walk, count: 8}, {command: run, name: runner}]}\n"


def test_one_copy_of_each_simulator_is_launched_under_another_name(tmp_path: Path) -> None:
    config = loaded(tmp_path, LAUNCH + "evaluation: {}")
    assert launched(config) == [("evaluation-simulator", 1), ("evaluation-runner", 1)]


def test_what_is_named_for_evaluations_is_launched_instead(tmp_path: Path) -> None:
    own = "evaluation: {launch: [{command: walk --slowly, name: judge, count: 2}]}"
    assert launched(loaded(tmp_path, LAUNCH + own)) == [("judge", 2)]
    assert launched(loaded(tmp_path, LAUNCH + "evaluation: {launch: []}")) == []


def test_two_launched_simulators_have_two_names(tmp_path: Path) -> None:
    own = "evaluation: {launch: [{command: walk}]}"
    with pytest.raises(ConfigError, match=r"'simulator' is the name of two launched simulators"):
        loaded(tmp_path, LAUNCH + own)


def test_games_of_ml_agents_need_a_bridge_to_be_evaluated_in(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"games of ML-Agents take no part in evaluations"):
        loaded(tmp_path, "unity: {}\nevaluation: {}")
    assert loaded(tmp_path, "unity: {native: true}\nevaluation: {}").evaluation is not None
    bridge = "evaluation: {launch: [{command: entrain-env bridge}]}"
    assert launched(loaded(tmp_path, f"unity: {{}}\n{bridge}")) == [("simulator", 1)]


def test_another_trainers_word_is_answered_by_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'initialize_from'.*did you mean 'initial_weights'"):
        loaded(tmp_path, "policies: {walker: {initialize_from: runs/walk}}")


def test_the_settings_on_the_page_are_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    config = loaded(tmp_path, text)
    assert config.stop_at is not None
    assert launched(config) == [("evaluation-simulator", 1)]
