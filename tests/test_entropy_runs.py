"""What the entropy benchmark measures, worked out by hand on made curves."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmarks import entropy_runs
from benchmarks.entropy import (
    EVERY,
    FAMILIES,
    LEAST_TEMPERATURE,
    VARIANTS,
    Run,
    measure,
    panel_rows,
    spread,
)
from benchmarks.entropy_kept import kept
from benchmarks.entropy_runs import (
    BENCHMARKS,
    OPTIONS_BY_KIND,
    POINT_STEPS,
    TOTAL_STEPS,
    Curve,
    Measured,
    final_return,
    merged,
    policy_config,
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


def test_where_no_episode_ended_there_is_no_mean() -> None:
    ahead = curve([1, NAN, NAN], episodes=[3, 0, 0]).ahead(points=2)
    np.testing.assert_allclose(ahead, [1, NAN])


def test_the_final_return_is_that_of_the_last_tenth() -> None:
    # Of 20 updates the last two: (2 * 0 + 6 * 1) / 8.
    seen = curve([9.0] * 18 + [0, 1], episodes=[1] * 18 + [2, 6])
    assert seen.final() == pytest.approx(0.75)
    assert final_return(None, seen) == {  # type: ignore[arg-type]
        "final return": pytest.approx(0.75),
        "far goal found": True,
    }


def test_the_rarer_goal_has_at_most_half() -> None:
    assert rarer_share(np.ones(4), {"A": 3, "B": 1}) == 0.25
    assert rarer_share(np.ones(4), {"A": 0, "B": 0}) == 0.0


def moved_wall(before: Sequence[float], after: Sequence[float]) -> Mapping[str, float]:
    """Scores of a run with as many points before the change as after it, 1,500 steps apart."""
    assert len(before) == len(after) == 50
    return measured("moved_wall", curve([*before, *after]))


def test_recovery_begins_with_the_first_of_five_good_points_after_the_change() -> None:
    # The first nine points after the change are bad; number 10, 15,000 steps after it, is good.
    scores = moved_wall([0.88] * 50, [-0.5] * 9 + [0.8] * 41)
    # Five points from number 7 on: (3 * -0.5 + 2 * 0.8) / 5 = 0.02; from 8: (-1 + 2.4) / 5 = 0.28.
    assert scores["steps to recover"] == pytest.approx(8 * 1500)
    assert scores["first map learned"] == 1.0
    assert scores["recovered"] == 1.0
    assert scores["best return before"] == pytest.approx(0.88)


def test_a_lucky_point_is_no_recovery() -> None:
    # Of five points two or three are good: at most (3 * 0.4 - 2 * 0.5) / 5 = 0.04.
    scores = moved_wall([0.88] * 50, [-0.5, 0.4] * 25)
    assert scores["recovered"] == 0.0
    assert np.isnan(scores["steps to recover"])


def test_who_did_not_learn_the_first_map_has_nothing_to_come_back_to() -> None:
    # 90 % of a best of -0.47 would be -0.42, which is reached by failing a little less.
    scores = moved_wall([-0.47] * 50, [-0.4] * 20 + [0.88] * 30)
    assert scores["first map learned"] == 0.0
    assert np.isnan(scores["recovered"])
    assert np.isnan(scores["steps to recover"])
    assert scores["final return"] == pytest.approx(0.88)


def test_recovery_is_held_against_the_same_bar_whatever_the_best_before() -> None:
    # Half way from 50 * -0.01 to 1 - 12 * 0.01 is 0.19: above for the second, below for the first.
    assert moved_wall([0.88] * 50, [0.18] * 50)["recovered"] == 0.0
    assert moved_wall([0.88] * 50, [0.20] * 50)["recovered"] == 1.0
    assert moved_wall([0.18] * 50, [0.20] * 50)["first map learned"] == 0.0


def test_episodes_that_began_before_the_change_are_no_recovery() -> None:
    # They end within 64 * 50 = 3,200 steps, in three points at most; with two bad ones beside
    # them their mean is (3 * 0.88 - 2 * 0.5) / 5 = 0.33, above the bar.
    scores = moved_wall([0.88] * 50, [0.88] * 3 + [-0.5] * 47)
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


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("task", BENCHMARKS)
def test_every_run_has_options_that_a_policy_may_have(variant: str, task: str) -> None:
    for strength in VARIANTS[variant].swept:
        policy_config(Run(task, variant, strength, 1).options)


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


def test_a_spread_counts_yes_and_no_and_says_how_many_could_be_measured() -> None:
    assert spread([True, False, True]) == "2 of 3"
    assert spread([True, NAN, False]) == "1 of 2"
    assert spread([1000, NAN, 3000]) == "2,000 +- 1,414 (2 of 3)"
    assert spread([NAN, NAN]) == "-"


def test_an_outcome_is_kept_for_the_same_options_alone(tmp_path: Path) -> None:
    asked: list[float] = []

    def outcome(value: float) -> Callable[[], Measured]:
        def measure() -> Measured:
            asked.append(value)
            return Measured(curve([value, NAN]), {"return": value, "found": True, "steps": NAN})

        return measure

    first = kept(tmp_path, "run", {"coefficient": 0.1}, outcome(1.0))
    again = kept(tmp_path, "run", {"coefficient": 0.1}, outcome(2.0))
    other = kept(tmp_path, "run", {"coefficient": 0.2}, outcome(3.0))
    assert asked == [1.0, 3.0]
    assert again.scores["found"] == 1.0
    assert np.isnan(again.scores["steps"])
    np.testing.assert_array_equal(again.curve.value, first.curve.value)
    assert again.scores["return"] == 1.0
    assert other.scores["return"] == 3.0


def test_a_run_with_more_gradient_steps_has_other_options() -> None:
    seldom, often = Run("moved_wall", "SAC", 0.01, 1), Run("moved_wall", "SAC", 0.01, 1, every=16)
    assert "updates_per_step" not in seldom.options["algorithm"]
    assert often.options["algorithm"]["updates_per_step"] == 1 / 16
    assert often.options["entropy"] == seldom.options["entropy"]
    assert [seldom.label, often.label] == ["SAC 0.01", "SAC 0.01, every 16"]


def test_gradients_may_be_clipped_apart() -> None:
    together, apart = (
        Run("moved_wall", "soft_return", 0.01, 1, clip=clip) for clip in ("together", "apart")
    )
    with_clip = merged(together.options, {"algorithm": {"clip_gradients": "apart"}})
    assert apart.options == with_clip != together.options
    assert [together.label, apart.label] == ["soft_return 0.01", "soft_return 0.01, clipped apart"]


def test_the_usual_pace_is_that_of_the_options() -> None:
    for kind in ("soft_q", "sac"):
        assert OPTIONS_BY_KIND[kind]["algorithm"]["updates_per_step"] == 1 / EVERY


def test_each_algorithm_at_each_pace_has_rows_of_its_own_in_a_picture() -> None:
    ppo = [Run("deception", name, 0.1, 1) for name in FAMILIES["ppo"][:4]]
    assert panel_rows(ppo, columns=3) == [(ppo[0], ppo[:3]), (ppo[0], ppo[3:])]
    soft_q = [Run("deception", "soft Q", strength, 1) for strength in (0.01, 0.03)]
    often = [Run("deception", "soft Q", 0.01, 1, every=16)]
    sac = [Run("deception", "SAC", 0.01, 1)]
    assert panel_rows([*soft_q, *often, *sac], columns=4) == [
        (soft_q[0], soft_q),
        (often[0], often),
        (sac[0], sac),
    ]
