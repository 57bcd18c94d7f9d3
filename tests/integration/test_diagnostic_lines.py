"""A run says in its log, once, what goes wrong with a policy; the report says it as well."""

import logging
from pathlib import Path

import pytest

from entrain.app.training import TrainingRun
from entrain.run.folder import RunFolder
from entrain.run.report import write_report
from live_run import config_from, newest, simulators, train
from toy_environments import DiscreteBandit

SETTLES = """
server: {{address: "unix:{socket}", lockstep: true}}
policies:
  toy:
    total_steps: 1600
    network: {{hidden_sizes: [8]}}
    rollout_steps: 64
    algorithm: {{minibatch_size: 64, num_epochs: 8, learning_rate: {learning_rate}}}
"""


async def run(
    folder: Path, *, learning_rate: float, stop_after: int = 0
) -> tuple[TrainingRun, RunFolder]:
    """To the end, in one sitting or in two."""
    text = SETTLES.format(socket=folder / "s", learning_rate=learning_rate)
    config = config_from(text, folder)
    run_folder = RunFolder.create(folder / "runs", "toy")
    bandit = DiscreteBandit([1.0, 0.0, 0.0], num_agents=16)
    with simulators(f"unix:{folder}/s", {"bandit": bandit}):
        if stop_after:
            outcome, _ = await train(
                config, run_folder, stop_at=lambda run: run.env_steps >= stop_after
            )
            assert outcome == "stopped"
        outcome, last = await train(config, run_folder, resumed=bool(stop_after))
    assert outcome == "completed"
    return last, run_folder


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of the trainer: the simulator, in the same process, complains of who does not listen yet."""
    return [
        each.getMessage()
        for each in caplog.records
        if each.levelno == logging.WARNING and each.name == "entrain.app.reporting"
    ]


@pytest.mark.parametrize("stop_after", [0, 800], ids=["in one sitting", "in two sittings"])
async def test_a_policy_that_settles_early_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stop_after: int
) -> None:
    last, folder = await run(tmp_path, learning_rate=0.05, stop_after=stop_after)
    (line,) = warnings(caplog)
    assert line.startswith("policy 'toy', update ")
    assert ": entropy collapse: of the " in line
    assert "raise entropy.coefficient (now 0)" in line
    # A third of 25 updates.
    update = int(line.removeprefix("policy 'toy', update ").split(":")[0])
    assert 2 <= update <= 9
    summary = last.summary("completed")
    assert [f"policy 'toy', {each}" for each in summary.policies["toy"].warnings] == [line]
    state = newest(folder).state["policies"]["0"]["trainer"]
    assert state["diagnostics"]["first_of_branches"] > 0.5
    write_report(folder, summary)
    assert f"update {update}: entropy collapse" in folder.report.read_text(encoding="utf-8")


async def test_a_policy_that_takes_its_time_is_not_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last, _ = await run(tmp_path, learning_rate=1e-3)
    assert warnings(caplog) == []
    assert last.summary("completed").policies["toy"].warnings == ()
