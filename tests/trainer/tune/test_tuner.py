"""Which runs live, when they are stopped, and what becomes of trials, with made-up processes."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from support.made_up_tunings import SETTINGS, STEPS, RunningTuning, TuningWorld, learning_rate

pytestmark = pytest.mark.usefixtures("logging_as_before")

QUICK = ("search.startup_trials=0", "search.sampler=random")


def states(tuning: RunningTuning) -> list[str]:
    return [it.state for it in tuning.tried()]


async def test_trials_come_to_the_newest_value_of_their_runs(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    tuning = world.begin()
    await tuning.to_its_end()
    tried = tuning.tried()
    assert [it.state for it in tried] == ["completed"] * 4
    for trial in tried:
        rate = trial.chosen["policies.hopper.algorithm.learning_rate"]
        assert trial.value == pytest.approx(1000.0 * rate)
        # Of 1000 steps, in rows of 100: looks 1 and 2 have the row of 100, 3 and 4 that of 200.
        assert trial.looks[2] == pytest.approx(100.0 * rate)
        assert trial.looks[3] == pytest.approx(200.0 * rate)
        assert len(trial.looks) == 20
    assert world.started == [f"trial-{number:03d}" for number in range(4)]


async def test_trials_whose_runs_are_evaluated_come_to_their_newest_evaluation(
    tmp_path: Path,
) -> None:
    # By the episodes of training, which are below 0 here, the worst would be the best.
    world = TuningWorld(tmp_path)
    tuning = world.begin("evaluation={every_steps: 100}")
    await tuning.to_its_end()
    tried = tuning.tried()
    assert [it.state for it in tried] == ["completed"] * 4
    for trial in tried:
        rate = trial.chosen["policies.hopper.algorithm.learning_rate"]
        assert trial.value == pytest.approx(1000.0 * rate)
        # An evaluation is over after the update with which it began: the one of 100 steps counts
        # from look 3, at 150, on, and there is none for looks 1 and 2.
        assert trial.looks[3] == trial.looks[4] == pytest.approx(100.0 * rate)
        assert trial.looks[5] == pytest.approx(200.0 * rate)
        assert sorted(trial.looks) == list(range(3, 21))


async def test_a_run_is_what_the_file_says_with_the_values_of_its_trial(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    tuning = world.begin("search.trials=1", "server.websocket=localhost:50052")
    await tuning.to_its_end()
    config, (trial,) = world.config_of("trial-000"), tuning.tried()
    assert learning_rate(config) == trial.chosen["policies.hopper.algorithm.learning_rate"]
    assert (config.seed, config.policies["hopper"].total_steps) == (7, 1000)
    assert config.search is None
    assert config.server.websocket == "localhost:0"
    command = " ".join(world.processes["trial-000"].command)
    assert "--address localhost:0" in command
    assert f"--runs-directory {world.runs}/hop-tuning/runs" in command


async def test_variables_that_are_options_are_in_the_file_and_not_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRAIN__POLICIES__HOPPER__ALGORITHM__LEARNING_RATE", "0.5")
    monkeypatch.setenv("ENTRAIN_LOG_FORMAT", "json")
    world = TuningWorld(tmp_path)
    await world.begin("search.trials=1").to_its_end()
    (environment,) = world.environments
    assert not [name for name in environment if name.startswith("ENTRAIN__")]
    assert environment["ENTRAIN_LOG_FORMAT"] == "json"


async def test_so_many_runs_live_at_a_time(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    world.ends_at_once = False
    tuning = world.begin("search.parallel=3", "search.trials=5")
    await tuning.steps(3)
    assert world.started == ["trial-000", "trial-001", "trial-002"]
    world.measure("trial-001")
    world.end("trial-001")
    await tuning.steps(2)
    assert states(tuning) == ["running", "completed", "running", "running"]
    assert world.started[3:] == ["trial-003"]


async def test_a_trial_is_the_mean_over_its_seeds(tmp_path: Path) -> None:
    def by_seed(config: RunConfig) -> Sequence[float]:
        return [float(config.seed)] * len(STEPS)

    world = TuningWorld(tmp_path, curve=by_seed)
    tuning = world.begin("search.seeds=3", "search.trials=1", "search.parallel=2")
    await tuning.to_its_end()
    # Seeds 7, 8 and 9.
    assert [it.value for it in tuning.tried()] == [8.0]
    assert world.started == [f"trial-000-seed-{number}" for number in (1, 2, 3)]


async def test_a_look_counts_once_all_seeds_have_passed_it(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    world.ends_at_once = False
    tuning = world.begin("search.seeds=2", "search.trials=1", "search.parallel=2")
    await tuning.steps(2)
    world.measure("trial-000-seed-1", up_to=500)
    await tuning.steps(2)
    assert tuning.tried()[0].looks == {}
    world.measure("trial-000-seed-2", up_to=200)
    await tuning.steps(2)
    assert list(tuning.tried()[0].looks) == [1, 2, 3, 4]


async def test_what_is_worse_than_others_saves_and_stops(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path, curve=lambda config: [5.0] * len(STEPS))
    pruner = "search.pruner={kind: median, startup_trials: 2, warmup: 0.1}"
    tuning = world.begin(*QUICK, pruner, "search.trials=3")
    while states(tuning) != ["completed", "completed"]:
        await tuning.steps(1)
    world.ends_at_once = False
    world.curve = lambda config: [1.0] * len(STEPS)
    await tuning.steps(1)
    process = world.processes["trial-002"]
    process.saves_at_once = False
    world.measure("trial-002", up_to=400)
    await tuning.steps(3)
    # It is asked once, and its trial goes on until it has ended.
    assert process.asked == 1
    assert states(tuning)[2] == "running"
    world.end("trial-002", 0, "stopped")
    await tuning.steps(1)
    trial = tuning.tried()[2]
    assert (trial.state, trial.value) == ("pruned", 1.0)
    assert trial.words == "worse than others at 40 % of its steps"
    assert tuning.tuner.is_done


async def test_a_policy_that_diverges_teaches_the_sampler(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    world.code, world.outcome = 6, "failed"
    tuning = world.begin("search.trials=1")
    await tuning.to_its_end()
    (trial,) = tuning.tried()
    assert trial.state == "pruned"
    assert "trial-000: exit code 6: a policy diverged" in trial.words


async def test_three_trials_that_fail_in_a_row_end_the_tuning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "entrain")
    world = TuningWorld(tmp_path)
    world.code, world.outcome = 2, "failed"
    tuning = world.begin("search.trials=9")
    with pytest.raises(ConfigError, match=r"3 trials failed one after the other") as caught:
        await tuning.to_its_end()
    assert "trial 2: trial-002: exit code 2" in str(caught.value)
    assert f"{tuning.tuning.folder.output_of('trial-002')} has what it printed" in str(caught.value)
    assert states(tuning) == ["failed"] * 3


async def test_a_run_that_dies_is_started_again_three_times(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    world.code, world.outcome = 7, "failed"
    tuning = world.begin("search.trials=1")
    for _ in range(12):
        world.now_s += 10.0
        await tuning.steps(1)
        if states(tuning)[0] == "failed":
            break
    assert world.started == ["trial-000"] * 3
    assert "exit code 7" in tuning.tried()[0].words


async def test_a_run_without_the_metric_has_failed(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path, curve=lambda config: [math.nan] * len(STEPS))
    tuning = world.begin("search.trials=1")
    await tuning.steps(2)
    assert tuning.tried()[0].state == "failed"
    assert "its metric was never measured" in tuning.tried()[0].words


async def test_a_run_that_is_stopped_by_hand_ends_its_trial(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    world.ends_at_once = False
    tuning = world.begin("search.trials=1")
    await tuning.steps(2)
    world.measure("trial-000", up_to=300)
    world.end("trial-000", 0, "stopped")
    await tuning.to_its_end()
    (trial,) = tuning.tried()
    assert (trial.state, trial.words) == ("pruned", "trial-000 was stopped by hand")
    assert sorted(trial.looks) == [1, 2, 3, 4, 5, 6]


async def test_values_that_do_not_agree_are_no_trial(tmp_path: Path) -> None:
    # Each of the larger counts may be had beside the other's 1; 4 + 4 are more than may join.
    counts = """\
    simulators.launch.0.count: {{choices: [1, 4]}}
    simulators.launch.1.count: {{choices: [1, 4]}}
"""
    text = SETTINGS.partition("    policies.hopper.algorithm.learning")[0] + counts
    launch = "    - command: a-simulator\n"
    text = text.replace(launch, f"{launch}    - {{{{command: another, name: another}}}}\n")
    world = TuningWorld(tmp_path, f"{text}server: {{{{max_sessions: 5}}}}\n")
    tuning = world.begin("search.trials=6", *QUICK)
    await tuning.to_its_end()
    for trial in tuning.tried():
        are_too_many = list(trial.chosen.values()) == [4, 4]
        assert trial.state == ("pruned" if are_too_many else "completed")
        assert trial.words.startswith("cannot be: ") == are_too_many
    assert {"pruned", "completed"} == set(states(tuning))


async def test_after_a_kill_trials_go_on_and_their_runs_are_found_again(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    world.ends_at_once = False
    before = world.begin("search.parallel=2", "search.trials=3")
    await before.steps(2)
    world.measure("trial-000", up_to=300)
    await before.steps(1)
    # The process is killed; what it started has ended meanwhile, and left a checkpoint.
    after = world.begin("search.parallel=2", "search.trials=3")
    world.ends_at_once = True
    await after.to_its_end()
    assert world.started[:4] == ["trial-000", "trial-001", "trial-000", "trial-001"]
    assert states(after) == ["completed"] * 3
    rate = after.tried()[0].chosen["policies.hopper.algorithm.learning_rate"]
    assert after.tried()[0].looks[6] == pytest.approx(300.0 * rate)


async def test_a_trial_without_its_settings_is_tried_again(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    tuning = world.begin("search.trials=1")
    number, *_ = tuning.study.ask()
    # Killed before the settings of its run were written.
    again = world.begin("search.trials=1")
    await again.to_its_end()
    first, second = again.tried()
    assert (first.number, first.state, second.state) == (number, "failed", "completed")
    assert "interrupted before its runs were begun" in first.words
    assert first.chosen == second.chosen


async def test_stopped_runs_save_and_their_trials_go_on(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    world.ends_at_once = False
    tuning = world.begin("search.parallel=2", "search.trials=2")
    await tuning.steps(2)
    await tuning.tuner.stop(every_s=0.001)
    assert [process.asked for process in world.processes.values()] == [1, 1]
    assert states(tuning) == ["running", "running"]
    world.ends_at_once = True
    again = world.begin("search.parallel=2", "search.trials=2")
    await again.to_its_end()
    assert states(again) == ["completed", "completed"]


async def test_games_of_several_runs_dial_ports_that_are_free(tmp_path: Path) -> None:
    text = SETTINGS.replace("simulators:\n  launch:\n    - command: a-simulator\n", "")
    unity = "unity: {{port: 5005, launch: {{path: builds/Hop}}}}\n"
    world = TuningWorld(tmp_path, text + unity)
    await world.begin("search.trials=1").to_its_end()
    config = world.config_of("trial-000").unity
    assert config is not None
    assert (config.port, config.launch is not None) == (0, True)
