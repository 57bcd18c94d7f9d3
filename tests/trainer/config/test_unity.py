"""Options of a run with games built with Unity's ML-Agents."""

import pytest
from pydantic import ValidationError

from entrain.config import LaunchConfig, RunConfig, SimulatorsConfig, UnityConfig


def test_the_defaults_are_those_of_the_editor_and_of_mlagents_learn() -> None:
    unity = RunConfig.model_validate({"unity": {}}).unity
    assert unity is not None
    assert (unity.host, unity.port, unity.games) == ("localhost", 5004, 1)
    engine = unity.engine
    assert (engine.width, engine.height, engine.quality_level) == (84, 84, 5)
    assert (engine.time_scale, engine.target_frame_rate) == (20.0, -1)
    assert engine.capture_frame_rate == 60


def test_the_last_game_needs_a_port_too() -> None:
    with pytest.raises(ValidationError, match="end at port 65536"):
        UnityConfig(port=65533, games=4)
    assert UnityConfig(port=0, games=100_000).port == 0


@pytest.mark.parametrize("lookalike", [True, "5004", 5004.5])
def test_a_port_is_a_number(lookalike: object) -> None:
    with pytest.raises(ValidationError):
        UnityConfig.model_validate({"port": lookalike})


def test_games_are_expected_beside_launched_simulators() -> None:
    launch = SimulatorsConfig(launch=(LaunchConfig(command="x", count=2),))
    assert RunConfig().expected_simulators == 1
    assert RunConfig(unity=UnityConfig(games=3)).expected_simulators == 3
    assert RunConfig(unity=UnityConfig(games=3), simulators=launch).expected_simulators == 5


def test_more_games_than_sessions_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"unity\.games is 1,025"):
        RunConfig(unity=UnityConfig(games=1025))


def test_the_native_address_is_listened_on_only_where_it_is_wanted() -> None:
    launch = SimulatorsConfig(launch=(LaunchConfig(command="x"),))
    assert RunConfig().is_native
    assert not RunConfig(unity=UnityConfig()).is_native
    assert RunConfig(unity=UnityConfig(native=True)).is_native
    assert RunConfig(unity=UnityConfig(), simulators=launch).is_native
