"""What `entrain play` says to do next is a command that works."""

from pathlib import Path

from entrain.app.playing import ending
from entrain.config.launch import LaunchConfig
from entrain.config.run import RunConfig, SimulatorsConfig
from entrain.config.unity import UnityConfig
from entrain.run.folder import RunFolder

LAUNCHED = SimulatorsConfig(launch=(LaunchConfig(command="./game --connect {address}"),))


def said(config: RunConfig, launch: str | None = None) -> list[str]:
    return list(ending(RunFolder(Path("runs/walk")), config, None, launch=launch))


def test_a_recording_needs_a_simulator_that_is_launched() -> None:
    words = "to see it, if the simulator can draw: entrain play runs/walk"
    launched = RunConfig(simulators=LAUNCHED)
    assert said(launched) == [f"{words} --record play.gif"]
    # The run launches none, so the command must name one again.
    named = "entrain-env gymnasium CartPole-v1"
    assert said(launched, named) == [f"{words} --launch '{named}' --record play.gif"]


def test_where_nothing_can_be_recorded_another_command_is_named() -> None:
    evaluate = ["next, returns over many episodes: entrain evaluate runs/walk"]
    assert said(RunConfig()) == evaluate
    assert said(RunConfig(unity=UnityConfig())) == evaluate
