"""Numbers about a far origin are subtracted before rounding, or a line says what is lost."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from entrain_envs.command_line import parser
from entrain_envs.errors import OptionError
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment
from entrain_envs.precision import Subtraction
from entrain_envs.timestep import ActionBatch

FAR = 1.7e9


class Scripted(gymnasium.Env[Any, Any]):
    """Observes numbers of a script, in turn."""

    action_space: Any = spaces.Discrete(2)

    def __init__(self, script: Any) -> None:
        self.script = np.array(script, np.float64)
        self.observation_space = spaces.Box(-np.inf, np.inf, self.script.shape[1:], np.float64)
        self.time = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.script[0], {}

    def step(self, action: Any) -> Any:
        self.time = (self.time + 1) % len(self.script)
        return self.script[self.time], 0.0, False, False, {}


def seen(script: Any, *, steps: int, subtract: tuple[Subtraction, ...] = ()) -> Any:
    """[1 + steps, size] what the policy sees."""
    environment = GymnasiumEnvironment(lambda: Scripted(script), behaviour="far", subtract=subtract)
    choice = ActionBatch(np.zeros((1, 0), np.float32), np.zeros((1, 1), np.int32), 0)
    batches = [environment.reset(seed=1, parameters={})["far"]]
    batches += [environment.step({"far": choice})["far"] for _ in range(steps)]
    return np.concatenate([batch.observation["observation"] for batch in batches])


def test_an_origin_is_subtracted_before_rounding() -> None:
    script = [[FAR - 1.0, 5.0], [FAR + 0.25, 6.0]]
    plain = seen(script, steps=1)
    assert plain[0, 0] == plain[1, 0] == np.float32(FAR)
    moved = seen(script, steps=1, subtract=(("observation", 0, FAR),))
    assert moved.tolist() == [[-1.0, 5.0], [0.25, 6.0]]
    both = seen(script, steps=1, subtract=(("observation", None, 5.0), ("observation", 0, FAR)))
    assert both.tolist() == [[-1.0, 0.0], [0.25, 1.0]]


def test_numbers_that_float32_cannot_tell_apart_are_told_once_with_the_option_that_helps(
    caplog: pytest.LogCaptureFixture,
) -> None:
    generator = np.random.default_rng(0)
    script = np.column_stack([generator.uniform(-1, 1, 50), FAR + generator.uniform(-1, 1, 50)])
    seen(script, steps=1200)
    (record,) = caplog.records
    assert "'observation[1]' varied by" in record.message
    assert "only if they differ by 1.3e+02" in record.message
    assert "--subtract 'observation[1]=1.7e+09'" in record.message


@pytest.mark.parametrize(
    "column",
    [
        np.full(50, FAR),  # never varies, so nothing is lost
        np.linspace(-1e9, 1e9, 50),  # varies widely
        1.0 - 1e-8 * np.arange(50),  # varies little, but about no far origin
        20_000 + np.linspace(0.0, 5.0, 50),  # 2,560 values of float32 lie within
    ],
)
def test_numbers_that_float32_can_hold_are_not_told(
    column: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen(column[:, None], steps=1200)
    assert not caplog.records


def test_the_watch_ends() -> None:
    environment = GymnasiumEnvironment(lambda: Scripted([[0.0]]), behaviour="far", count=1100)
    assert environment._precision.is_watching
    environment.reset(seed=1, parameters={})
    assert not environment._precision.is_watching


@pytest.mark.parametrize(
    ("subtract", "complaint"),
    [
        (("place", None, 1.0), "names 'place', which is no observation .*observation: float32"),
        (("observation", 1, 1.0), "number 1 of 'observation', which has 1 numbers"),
    ],
)
def test_an_origin_of_what_is_not_observed_is_refused(
    subtract: Subtraction, complaint: str
) -> None:
    with pytest.raises(OptionError, match=complaint):
        seen([[0.0]], steps=0, subtract=(subtract,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("observation=1.7e9", ("observation", None, 1.7e9)),
        ("arm/0[12]=-3", ("arm/0", 12, -3.0)),
    ],
)
def test_origins_are_written_with_or_without_an_index(text: str, expected: Subtraction) -> None:
    arguments = ["gymnasium", "X", "--connect", "a:1", "--subtract", text, "--subtract", "b=1"]
    assert parser().parse_args(arguments).subtract == [expected, ("b", None, 1.0)]


@pytest.mark.parametrize("text", ["observation", "x=", "x=far", "=3", "x=nan"])
def test_what_is_no_origin_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["gymnasium", "X", "--connect", "a:1", "--subtract", text])
    assert "such as observation[0]=1.7e9" in capsys.readouterr().err
