"""What runs of every kind write is what is declared, and nothing is declared that none writes."""

import logging
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from entrain.app.profile import profile_of
from entrain.metrics import METRICS, find_metric
from entrain.run.folder import RunFolder
from entrain.run.table import read_metrics
from entrain_envs.spec import ActionSpec
from entrain_envs.timestep import StepType
from live_run import config_from, judged_simulators, train
from toy_environments import DiscreteBandit, Endless, Toy

CONFIG = """
server: {{address: "unix:{socket}", lockstep: true}}
environment_parameters: {parameters}
evaluation: {evaluation}
policies:
  toy:
    total_steps: 128
    network: {{hidden_sizes: [4], memory: {{kind: {memory}, size: 4, sequence_length: 4}}}}
    action: {{distribution: {distribution}}}
    entropy: {entropy}
    policy_lag: {policy_lag}
    rollout_steps: 64
    algorithm: {algorithm}
"""

PPO = "{minibatch_size: 32, num_epochs: 1}"
SOFT_Q = "{kind: soft_q, batch_size: 8, updates_per_step: 0.1, learning_starts: 0}"

PARTS_OF_A_ROUND = ("wait", "observe", "act", "record", "learn", "report", "checkpoint")
"""What a policy's loop does one after the other."""

CURRICULUM = "{wind: {kind: curriculum, lessons: [{name: only, value: 1}]}}"


def continuous(*, episode_steps: int = 7) -> Toy:
    """Two bounded dimensions; episodes of seven steps, or longer than the run."""
    toy = Endless(StepType.TRUNCATED, episode_steps=episode_steps, num_agents=8)
    toy.spec = type(toy.spec)(
        "toy", toy.spec.observations, ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0))
    )
    return toy


def choices() -> Toy:
    return DiscreteBandit([1.0, 0.0], num_agents=8)


def in_real_time() -> Toy:
    """Its actions have a deadline, which none of them misses."""
    toy = choices()
    toy.spec = replace(toy.spec, deadline_ms=60_000, fallback="neutral")
    return toy


async def written(
    folder: Path,
    toy: Toy,
    *,
    memory: str = "none",
    distribution: str = "gaussian",
    entropy: str = "{}",
    parameters: str = "{}",
    policy_lag: int = 0,
    algorithm: str = PPO,
    evaluation: str = "null",
) -> set[str]:
    """The names in metrics.csv of a short run."""
    folder.mkdir()
    config = config_from(
        CONFIG.format(
            socket=folder / "s",
            memory=memory,
            distribution=distribution,
            entropy=entropy,
            parameters=parameters,
            policy_lag=policy_lag,
            algorithm=algorithm,
            evaluation=evaluation,
        ),
        folder,
    )
    run_folder = RunFolder.create(folder, "run")
    run_folder.write_config((folder / "config.yaml").read_text())
    judges = {} if evaluation == "null" else {"judge": choices()}
    with judged_simulators(f"unix:{folder}/s", {"toy": toy}, judges=judges):
        outcome, _ = await train(config, run_folder)
    assert outcome == "completed"
    rows = read_metrics(run_folder.metrics)["toy"]
    series = rows.updates
    assert len(series.env_steps) == 2
    if policy_lag:
        return set(rows.columns)
    # The first update's row has the time before the first batch, too.
    parts = sum(float(series.columns[f"time/{part}"][1]) for part in PARTS_OF_A_ROUND)
    assert parts == pytest.approx(1.0, abs=1e-6)
    # The first update was written down, and its checkpoint taken, in the second one's round.
    assert series.columns["time/report"][1] > 0
    assert series.columns["time/checkpoint"][1] > 0
    profile = profile_of(run_folder.path, updates=20)
    assert sum(asdict(profile.shares["toy"]).values()) == pytest.approx(1.0)
    assert 0.0 < profile.rounds["toy"].update_share < 1.0
    return set(rows.columns)


async def test_every_run_writes_what_is_declared_and_all_that_is_declared_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="entrain.app.reporting")
    names = {
        "feed-forward": await written(tmp_path / "a", continuous()),
        "no episode ends": await written(tmp_path / "b", continuous(episode_steps=10**6)),
        "LSTM": await written(tmp_path / "c", continuous(), memory="lstm", parameters=CURRICULUM),
        "squashed": await written(tmp_path / "d", continuous(), distribution="squashed_gaussian"),
        "categorical": await written(tmp_path / "e", choices()),
        "evaluated": await written(
            tmp_path / "v",
            choices(),
            evaluation="{every_steps: 64, episodes: 4, launch: []}",
        ),
        "in real time": await written(tmp_path / "r", in_real_time(), policy_lag=1),
        "entropy critic": await written(
            tmp_path / "f", choices(), entropy="{objective: entropy_critic, coefficient: 0.1}"
        ),
        "target": await written(
            tmp_path / "g", choices(), entropy="{coefficient: 0.1, target: {fraction: 0.5}}"
        ),
        "prior": await written(
            tmp_path / "h", choices(), entropy=f"{{coefficient: 0.1, prior: {tmp_path}/e/run}}"
        ),
        "soft Q": await written(tmp_path / "q", choices(), algorithm=SOFT_Q),
        "soft Q, not learning yet": await written(
            tmp_path / "n", choices(), algorithm="{kind: soft_q}"
        ),
    }
    assert sum(line.startswith("time: ") for line in caplog.messages) == len(names)
    for kind, of_kind in names.items():
        assert [name for name in of_kind if find_metric(name) is None] == [], kind
    for metric in METRICS:
        kinds = {kind for kind in names if any(metric.has_name(name) for name in names[kind])}
        if metric.when:
            assert kinds, f"{metric.name} is written by none"
            assert kinds < set(names), f"{metric.name} is written by all"
        else:
            assert kinds == set(names), f"{metric.name} is not written by all"
