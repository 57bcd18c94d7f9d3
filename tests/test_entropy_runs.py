"""What the entropy benchmark measures, worked out by hand on made curves."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from benchmarks import entropy_runs
from benchmarks.entropy import FAMILIES, LEAST_TEMPERATURE, VARIANTS, Run, measure, spread
from benchmarks.entropy_runs import (
    BENCHMARKS,
    POINT_STEPS,
    TOTAL_STEPS,
    Curve,
    final_return,
    merged,
    rarer_share,
)

NAN = float("nan")


def curve(value: Sequence[float], *, episodes: Sequence[float] = ()) -> Curve:
    """Updates evenly over the whole run, of one episode each unless said otherwise."""
    count = len(value)
    return Curve(
        env_steps=np.linspace(TOTAL_STEPS / count, TOTAL_STEPS, count),
        value=np.array(value, float),
        episodes=np.array(episodes or np.isfinite(value), float),
        entropy=np.zeros(count),
    )


def measured(benchmark: str, seen: Curve) -> Mapping[str, float]:
    """Scores that do not ask the learner anything."""
    return BENCHMARKS[benchmark].scores(None, seen)  # type: ignore[arg-type]


def test_several_updates_are_averaged_over_their_episodes() -> None:
    # (3 * 1 + 1 * 5) / 4 = 2; (1 * 5 + 0) / 1 = 5.
    ahead = curve([1, 5, NAN], episodes=[3, 1, 0]).ahead(points=2)
    np.testing.assert_allclose(ahead, [2, 5])


def test_the_final_return_is_that_of_the_last_tenth() -> None:
    # Of 20 updates the last two: (2 * 0 + 6 * 1) / 8.
    seen = curve([9.0] * 18 + [0, 1], episodes=[1] * 18 + [2, 6])
    assert seen.final() == pytest.approx(0.75)
    assert final_return(None, seen) == {  # type: ignore[arg-type]
        "final return": pytest.approx(0.75),
        "far goal found": 1.0,
    }


def test_the_rarer_goal_has_at_most_half() -> None:
    assert rarer_share(np.ones(4), {"A": 3, "B": 1}) == 0.25
    assert rarer_share(np.ones(4), {"A": 0, "B": 0}) == 0.0


def test_recovery_begins_with_the_first_of_five_good_updates_after_the_change() -> None:
    # 40 updates. Up to number 20, 1.0; then four bad ones; from number 25 on 0.95.
    seen = curve([1.0] * 20 + [0.0] * 4 + [0.95] * 16)
    scores = measured("moved_wall", seen)
    # Number 25 is closed 5 updates after half of the steps.
    assert scores["steps to recover"] == pytest.approx(5 * TOTAL_STEPS / 40)
    assert scores["recovered"] == 1.0
    assert scores["best return before"] == 1.0


def test_a_lucky_update_is_no_recovery() -> None:
    seen = curve([1.0] * 20 + [0.0, 1.0] * 10)
    scores = measured("moved_wall", seen)
    assert scores["steps to recover"] == TOTAL_STEPS / 2
    assert scores["recovered"] == 0.0


def test_options_are_merged_group_by_group() -> None:
    options = {"algorithm": {"gae_lambda": 0.9, "num_epochs": 4}, "total_steps": 5}
    more = {"algorithm": {"gae_lambda": 0.5}, "entropy": {"coefficient": 1.0}}
    assert merged(options, more) == {
        "algorithm": {"gae_lambda": 0.5, "num_epochs": 4},
        "total_steps": 5,
        "entropy": {"coefficient": 1.0},
    }


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("task", BENCHMARKS)
def test_every_variant_has_a_strength_for_every_task_that_was_swept(
    variant: str, task: str
) -> None:
    assert set(VARIANTS[variant].compared(task)) <= set(VARIANTS[variant].swept)


@pytest.mark.parametrize("variant", FAMILIES["replay"])
def test_what_learns_from_a_replay_is_compared_at_every_temperature_beside_hardly_any(
    variant: str,
) -> None:
    compared = VARIANTS[variant].compared("moved_wall")
    assert compared == VARIANTS[variant].swept
    assert compared[0] == LEAST_TEMPERATURE


@pytest.mark.parametrize("variant", ["bonus", "soft Q", "SAC"])
def test_curves_of_all_algorithms_have_points_as_far_apart(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever learns from a replay has an update every 256 env steps, PPO every 1,024.
    steps = 2 * POINT_STEPS
    monkeypatch.setattr(entropy_runs, "TOTAL_STEPS", steps)
    monkeypatch.setattr(
        entropy_runs, "OPTIONS", merged(entropy_runs.OPTIONS, {"total_steps": steps})
    )
    curve = measure(Run("deception", variant, 0.01, 1)).curve
    assert curve.env_steps.tolist() == [POINT_STEPS, 2 * POINT_STEPS]
    # The first episodes are over after 50 steps of 64 agents, 3,200 env steps, or at a goal.
    assert curve.episodes.sum() < 2 * POINT_STEPS / 4
    assert curve.entropy[-1] > 0.0


def test_a_spread_has_as_many_digits_as_it_needs() -> None:
    assert spread([0.5, 0.7]) == "0.60 +- 0.14"
    assert spread([1000, 3000]) == "2,000 +- 1,414"
