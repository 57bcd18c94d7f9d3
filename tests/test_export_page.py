"""What docs/export.md shows runs, and plays as the policy does."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
import torch

from entrain.config.policy import MemoryConfig, NetworkConfig, PolicyConfig
from entrain.policy.action_bounds import ActionBounds, SquashedActionBounds
from entrain.policy.actor_critic import ActorCritic
from entrain.run.export import export_policy
from entrain_envs.gymnasium_spaces import action_layout, observation_layout
from entrain_envs.spec import ActionSpec, BehaviourSpec

PAGE = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
PLAYER, SAMPLING = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def cart_pole_policy() -> ActorCritic:
    """With a memory that matters."""
    env = gymnasium.make("CartPole-v1")
    spec = BehaviourSpec(
        "cart",
        observation_layout(env.observation_space, where="cart").specs,
        action_layout(env.action_space, where="cart").spec,
    )
    network = NetworkConfig(hidden_sizes=(8,), memory=MemoryConfig(kind="gru", size=6))
    policy = ActorCritic(spec, PolicyConfig(network=network), seed=1)
    with torch.no_grad():
        policy.action_head.weight.mul_(100.0)
    return policy


def total_reward(policy: ActorCritic, seed: int) -> float:
    """Of an episode that the policy plays in torch."""
    env = gymnasium.make("CartPole-v1")
    seen, _ = env.reset(seed=seed)
    state, total, is_over = policy.initial_state(1), 0.0, False
    while not is_over:
        observation = {"observation": torch.from_numpy(seen)[None, None]}
        with torch.no_grad():
            output = policy(observation, state, torch.zeros(1, 1, dtype=torch.bool))
        state = output.state
        action = int(output.distribution.mode()["discrete"][0, 0, 0])
        seen, reward, terminated, truncated, _ = env.step(action)
        total, is_over = total + float(reward), terminated or truncated
    return total


def test_the_player_plays_as_the_policy_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = cart_pole_policy()
    export_policy(policy, tmp_path / "cart.onnx", metadata={})
    monkeypatch.setattr(sys, "argv", ["player.py", str(tmp_path / "cart.onnx"), "CartPole-v1"])
    exec(compile(PLAYER, "player.py", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        f"episode {seed}: {total_reward(policy, seed):g}" for seed in range(3)
    ]


def test_the_player_is_short() -> None:
    assert len([line for line in PLAYER.splitlines() if line.strip()]) <= 30


Sampler = Callable[..., npt.NDArray[Any]]


def samplers() -> Mapping[str, Sampler]:
    found: dict[str, Any] = {"np": np}
    exec(compile(SAMPLING, "sampling.py", "exec"), found)
    return found


class NoNoise:
    """A generator whose normal numbers are one."""

    def standard_normal(self, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        return np.ones(shape)


@pytest.mark.parametrize(("squashed", "clip"), [(False, 1.0), (False, 3.0), (True, 1.0)])
def test_sampled_continuous_actions_are_scaled_as_the_policy_scales_them(
    *, squashed: bool, clip: float
) -> None:
    inf = float("inf")
    spec = ActionSpec((-2.0, 0.0, -inf, 1.0), (4.0, inf, inf, 1.5))
    mean, log_sigma_sq = np.array([[0.3, -3.0, 20.0, 5.0]]), np.full((1, 4), 2 * np.log(0.5))
    bounds = SquashedActionBounds(spec) if squashed else ActionBounds(spec, clip=clip)
    expected = bounds.bounded(torch.from_numpy(mean + 0.5).float()).numpy()
    described = {"action": {"low": [-2.0, 0.0, None, 1.0], "high": [4.0, None, None, 1.5]}}
    out = {"action_mean": mean, "log_sigma_sq": log_sigma_sq}
    actions = samplers()["sample_continuous"](out, described, squashed, NoNoise(), clip)
    np.testing.assert_allclose(actions, expected, rtol=1e-6)


def test_sampled_choices_have_the_probabilities_of_the_logits() -> None:
    lowest = np.finfo(np.float32).min
    logits = np.log(np.array([[0.2, 0.8, 0.5, 0.5, 1.0]], np.float32))
    logits[0, 4] = lowest
    generator = np.random.default_rng(1)
    chosen = samplers()["sample_discrete"](np.repeat(logits, 4000, axis=0), [2, 3], generator)
    assert chosen[:, 0].mean() == pytest.approx(0.8, abs=0.03)
    assert (chosen[:, 1] == 1).mean() == pytest.approx(0.5, abs=0.03)
    assert chosen[:, 1].max() == 1
