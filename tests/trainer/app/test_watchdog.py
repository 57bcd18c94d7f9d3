"""Who waits too long for a simulator is told what was expected, where, and why it may be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrain.app import watchdog
from entrain.app.game_watch import GameWatcher
from entrain.app.launch_plan import Simulator
from entrain.app.launcher import Launcher
from entrain.app.watchdog import too_few_came, watch_simulators
from entrain.config.run import RunConfig, ServerConfig, SimulatorsConfig
from entrain.errors import NoSimulatorError

NO_LAUNCHER = Launcher([], environment={})
CONFIG = RunConfig(simulators=SimulatorsConfig(wait_s=10.0))


@dataclass
class FakeServer:
    """Holds so many simulators at each look."""

    schedule: list[int]
    has_begun: bool = True
    refusals: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_sessions(self) -> int:
        return self.schedule.pop(0) if len(self.schedule) > 1 else self.schedule[0]


class Gone(Launcher):
    """Everything it started has ended."""

    @property
    def is_exhausted(self) -> bool:
        return True


class Clock:
    """A second passes with each look."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK_S", 0.0)


async def test_without_any_simulator_the_wait_ends_after_wait_s() -> None:
    clock = Clock()
    with pytest.raises(NoSimulatorError, match="for 10 s"):
        await watch_simulators(
            FakeServer([0]), CONFIG, Launcher([], environment={}), "here", clock=clock
        )
    assert 10.0 < clock.now_s < 15.0


async def test_the_wait_begins_again_when_the_last_simulator_leaves() -> None:
    clock = Clock()
    with pytest.raises(NoSimulatorError):
        await watch_simulators(
            FakeServer([0] * 8 + [1] * 20 + [0]),
            CONFIG,
            NO_LAUNCHER,
            "here",
            clock=clock,
        )
    assert clock.now_s > 8 + 20 + 10


class Games(GameWatcher):
    """Its first looks find that a game was stopped by people."""

    def __init__(self, paused_looks: int) -> None:
        self._paused_looks = paused_looks

    @property
    def is_paused(self) -> bool:
        self._paused_looks -= 1
        return self._paused_looks >= 0

    cause = ". game-0 has not connected to localhost:5004"


async def test_a_game_that_people_stopped_is_waited_for_and_the_wait_ends_with_the_cause() -> None:
    clock = Clock()
    with pytest.raises(NoSimulatorError, match=r"game-0 has not connected to localhost:5004$"):
        await watch_simulators(
            FakeServer([0]), CONFIG, NO_LAUNCHER, "here", games=Games(100), clock=clock
        )
    assert clock.now_s > 100.0 + 10.0


async def test_when_all_launched_simulators_have_ended_nobody_waits_any_longer() -> None:
    clock = Clock()
    with pytest.raises(NoSimulatorError, match="every simulator that this run launched has ended"):
        await watch_simulators(
            FakeServer([0]), CONFIG, Gone([], environment={}), "here", clock=clock
        )
    assert clock.now_s < 5.0


async def test_the_last_words_of_a_launched_simulator_are_quoted_unless_it_was_refused() -> None:
    class Failed(Gone):
        last_words = ". game-0 ended with exit code 2; its last words: no such option"

    launcher = Failed([], environment={})
    with pytest.raises(NoSimulatorError, match=r"exit code 2; its last words: no such option$"):
        await watch_simulators(FakeServer([0]), CONFIG, launcher, "here", clock=Clock())
    refused = FakeServer([0], refusals={"game-0": "it is too small"})
    with pytest.raises(NoSimulatorError, match=r"Refused: it is too small$"):
        await watch_simulators(refused, CONFIG, launcher, "here", clock=Clock())


async def test_the_last_words_of_a_simulator_that_is_tried_again_end_the_message_too() -> None:
    class Failing(Launcher):
        last_words = ". game-0 ended with exit code 1; its last words: no such map"

    with pytest.raises(NoSimulatorError, match=r"for 10 s.*its last words: no such map$") as caught:
        await watch_simulators(
            FakeServer([0]), CONFIG, Failing([], environment={}), "here", clock=Clock()
        )
    assert "firewall" not in str(caught.value)


def launching(*names: str) -> Launcher:
    """Would start these; nothing has ended."""
    return Launcher([Simulator(name, (), Path(name)) for name in names], environment={})


async def test_when_all_launched_simulators_are_refused_nobody_waits_for_them_to_end() -> None:
    clock = Clock()
    refusals = {"game-0": "the first is too small", "game-1": "the second is too small"}
    server = FakeServer([0], refusals=refusals)
    with pytest.raises(NoSimulatorError, match=r"was refused, .* Refused: the second is too small"):
        await watch_simulators(server, CONFIG, launching("game-0", "game-1"), "here", clock=clock)
    assert clock.now_s < 5.0


@pytest.mark.parametrize(
    ("schedule", "launched"),
    [
        ([0], ("game-0", "game-1")),  # one of them may yet come
        ([0], ()),  # none of them is ours to give up
        ([1], ("game-0",)),  # another simulator is there
    ],
)
async def test_a_refusal_alone_ends_no_wait_but_is_told_at_its_end(
    schedule: list[int], launched: tuple[str, ...]
) -> None:
    clock = Clock()
    server = FakeServer(schedule, has_begun=False, refusals={"game-0": "it is too small"})
    with pytest.raises(NoSimulatorError, match=r"listens on here. Refused: it is too small$"):
        await watch_simulators(server, CONFIG, launching(*launched), "here", clock=clock)
    assert clock.now_s > 10.0


async def test_when_fewer_join_than_expected_the_wait_ends_too() -> None:
    config = RunConfig(simulators=SimulatorsConfig(wait_s=10.0, expect=3))
    clock = Clock()
    with pytest.raises(NoSimulatorError, match="only 2 of the 3 expected simulators joined"):
        await watch_simulators(
            FakeServer([2], has_begun=False), config, NO_LAUNCHER, "here", clock=clock
        )
    assert 10.0 < clock.now_s < 15.0


def test_the_message_says_what_was_expected_where_and_three_causes() -> None:
    message = too_few_came(CONFIG, "localhost:50051", 0)
    assert "localhost:50051" in message
    assert "Expected: one of any behaviour; the trainer listens on localhost:50051." in message
    assert "simulators.wait_s" in message
    for cause in ("no simulator was started", "another address", "firewall"):
        assert cause in message


@pytest.mark.parametrize(
    ("websocket", "where"),
    [
        ("localhost:50052", "listens on here, and on localhost:50052 for WebSocket. Usual"),
        ("localhost:0", "listens on here. Usual"),
        (None, "listens on here. Usual"),
    ],
)
def test_the_message_says_where_websocket_is_spoken(websocket: str | None, where: str) -> None:
    config = RunConfig(server=ServerConfig(websocket=websocket))
    assert where in too_few_came(config, "here", 0)


async def test_a_paused_run_waits_for_simulators_without_end() -> None:
    looks, server = [0], FakeServer([0])

    def is_held() -> bool:
        looks[0] += 1
        return looks[0] < 100

    with pytest.raises(NoSimulatorError, match="launched has ended"):
        await watch_simulators(
            server, CONFIG, Gone([], environment={}), "here", is_held=is_held, clock=Clock()
        )
    assert looks[0] >= 100
