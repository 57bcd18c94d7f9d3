"""Two ranks train one policy together: as one run, stopped and resumed as one, ended by one."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from entrain.app.page_facts import FactsOfRun
from entrain.errors import RankFailedError, RankLostError
from entrain.state import State
from entrain_envs.environment import Environment
from entrain_envs.simulators.balance_ball import BalanceBall
from live_run import Moment, config_from, differences, simulators
from rank_runs import RankedRun
from support.ports import free_ports

CONFIG = """
seed: 7
server: {{address: "localhost:{port}", lockstep: {lockstep}}}
simulators: {{expect: 2}}
ranks: {{max_wait_s: {max_wait_s}}}
environment_parameters:
  size:
    kind: curriculum
    lessons:
    - {{name: a, value: 8, completion: {{behaviour: ball, threshold: -1000, min_episodes: 8}}}}
    - {{name: b, value: 6, completion: {{behaviour: ball, measure: progress, threshold: 0.7}}}}
    - {{name: c, value: 4}}
policies:
  ball:
    total_steps: {total_steps}
    normalize_rewards: true
    rollout_steps: 300
    network: {{hidden_sizes: [16, 16]}}
    algorithm: {{minibatch_size: 64, num_epochs: 2}}
    {options}
"""
TOTAL = 1000


def ranked_run(
    folder: Path,
    *,
    port: int,
    lockstep: bool = True,
    max_wait_s: float = 30.0,
    total_steps: int = TOTAL,
    options: str = "",
) -> RankedRun:
    folder.mkdir(exist_ok=True)
    text = CONFIG.format(
        port=port,
        lockstep=str(lockstep).lower(),
        max_wait_s=max_wait_s,
        total_steps=total_steps,
        options=options,
    )
    return RankedRun(config_from(text, folder), folder)


@contextmanager
def one_simulator_each(
    port: int, counts: Sequence[int] = (3, 3), *, reconnect_s: float = 30.0
) -> Iterator[None]:
    """The simulators `sim-0` and `sim-1`, with so many balls, for ranks 0 and 1."""
    with ExitStack() as stack:
        for rank, count in enumerate(counts):
            environment: Environment = BalanceBall(count=count)
            stack.enter_context(
                simulators(
                    f"localhost:{port + rank}",
                    {f"sim-{rank}": environment},
                    reconnect_s=reconnect_s,
                )
            )
        yield


def learned(run: RankedRun) -> State:
    """What all ranks have in the newest checkpoint, without times."""
    state = run.checkpoints.load_newest().state
    trainers = {"0": state, **{key: it for key, it in state["ranks"].items() if key != "size"}}
    return {
        rank: {
            "curricula": it["curricula"],
            **{
                key: value
                for key, value in it["policies"]["0"]["trainer"].items()
                if key != "progress"
            },
        }
        for rank, it in trainers.items()
    }


def weights(run: RankedRun, rank: int, sitting_runs: Sequence[object]) -> np.ndarray:
    policy = sitting_runs[rank].policies["ball"]  # type: ignore[attr-defined]
    return np.concatenate([each.detach().numpy().ravel() for each in policy.parameters()])


async def straight(folder: Path, options: str = "") -> State:
    port = free_ports(2)
    run = ranked_run(folder, port=port, options=options)
    with one_simulator_each(port):
        sitting = await run.sit()
    assert sitting.outcomes == ["completed", "completed"]
    return learned(run)


@pytest.mark.parametrize("options", ["", "policy_lag: 1"], ids=["on-policy", "one update behind"])
async def test_ranks_that_are_stopped_and_resumed_end_bit_for_bit_like_those_never_stopped(
    tmp_path: Path, options: str
) -> None:
    expected = await straight(tmp_path / "straight", options)
    port = free_ports(2)
    run = ranked_run(tmp_path / "stopped", port=port, options=options)
    moments: list[Moment] = [
        lambda it: it.env_steps >= 10,
        lambda it: it.env_steps >= 450,
        lambda it: any(each.progress.updates >= 2 for each in it.trainers.values()),
    ]
    with one_simulator_each(port):
        for index, moment in enumerate(moments):
            sitting = await run.sit(stop_at=moment, stopped_rank=index % 2, resumed=index > 0)
            assert sitting.outcomes == ["stopped", "stopped"]
        sitting = await run.sit(resumed=True)
    assert sitting.outcomes == ["completed", "completed"]
    assert differences(expected, learned(run)) == []


async def test_all_ranks_have_the_same_weights_and_count_the_steps_of_all(tmp_path: Path) -> None:
    port = free_ports(2)
    run = ranked_run(tmp_path, port=port)
    with one_simulator_each(port):
        sitting = await run.sit()
    first, second = (weights(run, rank, sitting.runs) for rank in range(2))
    np.testing.assert_array_equal(first, second)
    steps = [each.trainers["ball"].progress for each in sitting.runs]
    # 300 of 1,000 in a rollout, 3 balls at a time on each rank: 150 each, then 50 each rounded up.
    assert {it.env_steps for it in steps} == {1002}
    assert {it.updates for it in steps} == {3}
    newest = run.checkpoints.load_newest()
    assert newest.step == 1002
    rows = run.folder.metrics.read_text().splitlines()
    assert len(rows) == 4
    # Eight episodes of both, then 70 % of the steps of both: no rank has as many alone.
    lessons = [each.summary("completed").lessons for each in sitting.runs]
    assert lessons == [{"size": "'c' (3 of 3)"}] * 2


@pytest.mark.parametrize("is_gone", [False, True], ids=["damaged", "missing"])
async def test_a_file_of_the_newest_checkpoint_that_is_bad_sends_all_ranks_to_the_one_before(
    tmp_path: Path, is_gone: bool
) -> None:
    port = free_ports(2)
    run = ranked_run(tmp_path, port=port)
    with one_simulator_each(port):
        await run.sit(stop_at=lambda it: it.env_steps >= 320)
        await run.sit(stop_at=lambda it: it.env_steps >= 640, resumed=True)
        newest, before, *_ = run.checkpoints.paths
        arrays = newest / "arrays.safetensors"
        content = bytearray(arrays.read_bytes())
        content[-1] ^= 1
        arrays.unlink()
        if not is_gone:
            arrays.write_bytes(content)
        assert run.checkpoints.load_newest().path == before
        sitting = await run.sit(resumed=True)
    assert sitting.outcomes == ["completed", "completed"]
    first, second = (weights(run, rank, sitting.runs) for rank in range(2))
    np.testing.assert_array_equal(first, second)


async def test_a_stopped_run_counts_the_steps_of_all_ranks_behind_the_last_update(
    tmp_path: Path,
) -> None:
    port = free_ports(2)
    run = ranked_run(tmp_path, port=port)
    with one_simulator_each(port, (3, 5), reconnect_s=0.0):
        # Rank 0 knows of a round of 300, and of what it has closed itself since.
        sitting = await run.sit(stop_at=lambda it: it.env_steps >= 360)
    assert sitting.outcomes == ["stopped", "stopped"]
    own = [each.trainers["ball"].ledger.closed for each in sitting.runs]
    assert sitting.runs[0].summary("stopped").env_steps == sum(own)
    assert sitting.runs[0].env_steps == sum(own)
    # Its page shows the simulators of rank 0, of which none is missing.
    facts = FactsOfRun(run.config, "run")
    assert facts.now().expected_simulators == 2
    facts.attach(sitting.runs[0])
    assert facts.now().expected_simulators == 1


async def test_a_slow_rank_is_not_waited_for_without_end(tmp_path: Path) -> None:
    port = free_ports(2)
    run = ranked_run(tmp_path, port=port, lockstep=False, max_wait_s=0.02, total_steps=900)
    # The second rank has a ball for every nine of the first: the first is ready long before.
    with one_simulator_each(port, (9, 1)):
        sitting = await run.sit()
    assert sitting.outcomes == ["completed", "completed"]
    own = [each.trainers["ball"].ledger.closed for each in sitting.runs]
    assert sum(own) == sitting.runs[0].trainers["ball"].progress.env_steps
    assert own[0] > 1.2 * own[1]
    first, second = (weights(run, rank, sitting.runs) for rank in range(2))
    np.testing.assert_array_equal(first, second)


async def test_a_rank_that_is_lost_ends_all_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_ports(2)
    run = ranked_run(tmp_path, port=port, total_steps=10**6)

    def lose(it: object) -> bool:
        if it.env_steps < 200:  # type: ignore[attr-defined]
            return False
        link = it._together._link  # type: ignore[attr-defined]
        link._writer.transport.abort()
        return False

    with one_simulator_each(port, reconnect_s=0.0):
        sitting = await run.sit(stop_at=lose, stopped_rank=1)
    assert all(isinstance(each, RankLostError) for each in sitting.outcomes), sitting.outcomes
    assert str(sitting.outcomes[0]).startswith("rank 1 of 2 was lost: its connection closed")
    assert "rank 1 of 2 was lost" in caplog.text
    # The checkpoints before stand; none was written by what was left.
    assert all(path.name.endswith("-step-300") for path in run.checkpoints.paths)


async def test_a_rank_that_fails_ends_all_with_its_exit_code(tmp_path: Path) -> None:
    port = free_ports(2)
    run = ranked_run(tmp_path, port=port)
    # The second rank finds its port taken.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen(1)
        sitting = await run.sit()
    first, second = sitting.outcomes
    assert isinstance(first, RankFailedError)
    assert first.exit_code == getattr(second, "exit_code", 0) == 4
    assert "rank 1 failed" in str(first)
    assert str(port + 1) in str(first)
