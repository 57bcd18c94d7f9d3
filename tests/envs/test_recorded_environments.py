"""Environments that are recorded: Gymnasium's, PettingZoo's and the bundled ones."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from entrain_envs import command_line
from entrain_envs.environment import Environment
from entrain_envs.errors import MissingExtraError, OptionError
from entrain_envs.making import make_environment
from entrain_envs.pettingzoo_turns import TurnsEnvironment
from entrain_envs.recording.ball_painter import BallPainter
from entrain_envs.recording.corridor_painter import CorridorPainter
from entrain_envs.recording.recorder import Recorder
from entrain_envs.recording.rendered import RecordedZoo, RecordEpisodes
from entrain_envs.timestep import ActionBatch
from turn_games import Countdown

UP = np.zeros(2)


class Clock(gymnasium.Env[Any, Any]):
    """Ends after six steps; renders how many there were as a shade of grey."""

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 5}  # noqa: RUF012
    observation_space = spaces.Box(0.0, 10.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return np.full(1, self.steps, np.float32), 1.0, self.steps == 6, False, {}

    def render(self) -> Any:
        return np.full((32, 32, 3), 40 * self.steps, np.uint8)


class NoScreen(Clock):
    """Cannot render here."""

    def render(self) -> Any:
        raise RuntimeError("no display\nfound")


class NeedsMore(Clock):
    """Renders with a package that is not there."""

    def render(self) -> Any:
        raise gymnasium.error.DependencyNotInstalled('run `pip install "more"`')


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    gymnasium.register("Clock-v0", Clock)  # type: ignore[arg-type]
    yield
    del gymnasium.registry["Clock-v0"]


def made(*arguments: str) -> Environment:
    parsed = command_line.parser().parse_args([*arguments, "--connect", "localhost:1"])
    return make_environment(parsed)


def run(environment: Environment, steps: int) -> None:
    """Act like a trainer whose policy always takes 0."""
    rows = environment.reset(seed=3, parameters={})
    for _ in range(steps):
        actions = {}
        for spec in environment.behaviours:
            acting = int((rows[spec.name].step_type <= 2).sum()) if spec.name in rows else 0
            actions[spec.name] = ActionBatch(
                np.zeros((acting, spec.action.continuous_size), np.float32),
                np.zeros((acting, len(spec.action.branches)), np.int32),
                1,
            )
        rows = environment.step(actions)
    environment.close()


def num_pictures(path: Path) -> int:
    with Image.open(path) as image:
        return int(getattr(image, "n_frames", 1))


def test_a_gymnasium_environment_records_its_first_copy(tmp_path: Path) -> None:
    gif = tmp_path / "clock.gif"
    run(made("gymnasium", "Clock-v0", "--count", "3", "--record", str(gif)), steps=8)
    with Image.open(gif) as image:
        assert getattr(image, "n_frames", 1) == 6 + 1
        assert image.info["duration"] == 200
        for steps in range(7):
            image.seek(steps)
            assert abs(image.convert("L").getpixel((5, 5)) - 40 * steps) <= 4  # type: ignore[operator]


def test_several_episodes_are_recorded_if_asked_for(tmp_path: Path) -> None:
    gif = tmp_path / "clock.gif"
    arguments = ["--record", str(gif), "--record-episodes", "2", "--record-fps", "10"]
    run(made("gymnasium", "Clock-v0", *arguments), steps=20)
    assert num_pictures(gif) == 2 * 7


def test_a_simulator_that_stops_early_has_recorded_what_there_was(tmp_path: Path) -> None:
    gif = tmp_path / "clock.gif"
    run(made("gymnasium", "Clock-v0", "--record", str(gif)), steps=4)
    assert num_pictures(gif) == 5


def test_a_launcher_asks_by_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gif = tmp_path / "clock.gif"
    monkeypatch.setenv("ENTRAIN_RECORD", str(gif))
    monkeypatch.setenv("ENTRAIN_RECORD_EPISODES", "2")
    monkeypatch.setenv("ENTRAIN_RECORD_FPS", "2.5")
    monkeypatch.setenv("ENTRAIN_MAX_COUNT", "1")
    environment = made("gymnasium", "Clock-v0", "--count", "3")
    rows = environment.reset(seed=1, parameters={})
    assert len(rows["Clock-v0"].agent_id) == 1
    run(environment, steps=12)
    assert num_pictures(gif) == 2 * 7
    with Image.open(gif) as image:
        assert image.info["duration"] == 400


def test_an_environment_that_renders_no_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"its render mode is ansi, and .* rgb_array, ansi;"):
        RecordEpisodes(Clock("ansi"), Recorder(tmp_path / "a.gif"))
    with pytest.raises(OptionError, match="render_mode to 'human', and a recording needs"):
        kwargs = '{"render_mode": "human"}'
        made("gymnasium", "Clock-v0", "--kwargs", kwargs, "--record", str(tmp_path / "a.gif"))


def test_a_render_that_fails_says_so_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"NoScreen cannot be recorded: .* no display found"):
        RecordEpisodes(NoScreen("rgb_array"), Recorder(tmp_path / "a.gif")).reset()
    with pytest.raises(MissingExtraError, match="NeedsMore needs a package to render"):
        RecordEpisodes(NeedsMore("rgb_array"), Recorder(tmp_path / "a.gif")).reset()


def test_without_pillow_the_message_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    for module in [name for name in sys.modules if name.startswith("entrain_envs.recording")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(MissingExtraError, match=r"pip install pillow .*entrain-envs\[record\]"):
        made("balance-ball", "--record", str(tmp_path / "a.gif"))
    made("balance-ball").close()


class Pair:
    """A parallel PettingZoo environment of two, which end after three steps."""

    metadata = {"name": "pair", "render_fps": 10}  # noqa: RUF012
    possible_agents = ("a_0", "a_1")
    render_mode = "rgb_array"

    def __init__(self) -> None:
        self.agents: list[str] = []
        self.steps = 0
        self.is_closed = False

    @property
    def unwrapped(self) -> "Pair":
        return self

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.steps = list(self.possible_agents), 0
        return {}, {}

    def step(self, actions: Any) -> Any:
        self.steps += 1
        if self.steps == 3:
            self.agents = []
        return {}, {"a_0": 1.0, "a_1": 2.0}, {}, {}, {}

    def render(self) -> Any:
        return np.full((32, 32, 3), 60 * self.steps, np.uint8)

    def close(self) -> None:
        self.is_closed = True


def test_a_pettingzoo_environment_is_recorded_until_all_agents_are_done(tmp_path: Path) -> None:
    environment = RecordedZoo(Pair(), Recorder(tmp_path / "a.gif"))
    environment.reset(seed=1)
    for _ in range(3):
        environment.step({})
    assert num_pictures(tmp_path / "a.gif") == 4
    assert environment.possible_agents == ("a_0", "a_1")
    environment.close()
    assert environment.is_closed


class Drawn(Countdown):
    """A game in turns that shows how many there were."""

    metadata = {"name": "countdown", "render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, turns: int = 9, render_mode: str | None = None) -> None:
        super().__init__(turns=turns)
        self.render_mode = render_mode  # type: ignore[assignment]
        self.shown = 0

    def render(self) -> Any:
        self.shown += 1
        return np.full((32, 32, 3), 20 * self.shown, np.uint8)


def test_a_game_in_turns_is_recorded_turn_by_turn(tmp_path: Path) -> None:
    gif = tmp_path / "a.gif"
    recorder = Recorder(gif, episodes=2)
    environment = TurnsEnvironment(lambda: RecordedZoo(Drawn(4, "rgb_array"), recorder))
    run(environment, steps=9)
    # Steps that only take out agents that are done are not turns.
    assert num_pictures(gif) == 2 * (4 + 1)


def test_the_balance_ball_is_drawn_and_recorded_without_a_window(tmp_path: Path) -> None:
    gifs = [tmp_path / "one.gif", tmp_path / "two.gif"]
    for gif in gifs:
        run(made("balance-ball", "--count", "2", "--record", str(gif)), steps=60)
    assert 10 < num_pictures(gifs[0]) <= 61
    assert gifs[0].read_bytes() == gifs[1].read_bytes(), "the same actions, the same recording"


def test_the_cue_memory_is_drawn_and_recorded_without_a_window(tmp_path: Path) -> None:
    gif = tmp_path / "a.gif"
    run(made("cue-memory", "--record", str(gif)), steps=20)
    assert 5 < num_pictures(gif) <= 16  # entrance, 4 to 12 places, the doors, and behind one


def ball(**changed: Any) -> dict[str, Any]:
    state = {"rotation": UP, "position": np.array([0.0, 0.5, 0.0]), "velocity": np.zeros(3)}
    return {**state, **changed}


def test_the_drawn_ball_moves_and_its_platform_tilts() -> None:
    painter = BallPainter()
    seen = []
    for observation in (
        ball(),
        ball(rotation=np.array([0.4, 0.0])),
        ball(position=np.array([1.5, 0.5, 0.0])),
        ball(position=np.array([0.0, -1.5, 0.0])),
    ):
        painter.begin(observation, {"platform_size": 5.0})
        seen.append(painter.picture())
    assert {picture.shape for picture in seen} == {(220, 320, 3)}
    for index, one in enumerate(seen):
        for other in seen[index + 1 :]:
            assert (one != other).any(axis=-1).mean() > 0.002
    painter.begin(ball(), {"platform_size": 5.0})
    assert (painter.picture() == seen[0]).all()


def orange(picture: Any) -> int:
    """Pixels of the ball's colours."""
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return int(((red > 150) & (red - blue > 60) & (green < red - 30)).sum())


def test_a_ball_under_the_platform_is_hidden_and_one_in_front_is_not() -> None:
    painter = BallPainter()
    painter.begin(ball(), {})
    above = orange(painter.picture())
    painter.begin(ball(position=np.array([0.0, -0.8, 1.5])), {})
    assert orange(painter.picture()) < above / 2
    painter.begin(ball(position=np.array([0.0, -0.8, -3.0])), {})
    assert orange(painter.picture()) > above / 2


def seen_in_corridor(sign: int | None, place: int) -> dict[str, Any]:
    return {"sign": np.arange(4) == (-1 if sign is None else sign), "place": np.arange(3) == place}


def test_the_corridor_shows_the_sign_to_remember_until_the_right_or_wrong_door() -> None:
    painter = CorridorPainter()
    last = {}
    for choice in (2, 1):
        painter.begin(seen_in_corridor(2, 0), {})
        for place in (1, 1, 2):
            painter.step(seen_in_corridor(1 if place == 1 else None, place), choice=0, reward=0.0)
            assert painter.picture().shape == (200, 360, 3)
        before = painter.picture()
        painter.step(seen_in_corridor(None, 2), choice=choice, reward=float(choice == 2))
        last[choice] = painter.picture()
        assert (last[choice] != before).any()
    green = np.array([0x2E, 0x9E, 0x5B])
    red = np.array([0xD1, 0x45, 0x3B])
    assert (last[2] == green).all(axis=-1).any() and not (last[2] == red).all(axis=-1).any()
    assert (last[1] == green).all(axis=-1).any() and (last[1] == red).all(axis=-1).any()
