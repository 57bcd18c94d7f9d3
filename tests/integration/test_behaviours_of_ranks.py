"""Two ranks are brought different behaviours at one moment: what fits is served by both."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from entrain.app.rank_behaviours import RankBehaviours
from entrain.app.together import Together
from entrain.app.training import TrainingRun
from entrain.errors import BadHelloError
from entrain.serving.admission import JoinRequest
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from live_run import config_from, simulators
from rank_runs import RankedRun
from support.ports import free_ports

CONFIG = """
server: {{address: "localhost:{port}"}}
checkpoints: {{replay_mib: 2.5}}
policies:
  ball:
    total_steps: 1000000
    rollout_steps: 120
    network: {{hidden_sizes: [8]}}
    algorithm: {{minibatch_size: 64, num_epochs: 1}}
  "*":
    algorithm: {{kind: soft_q, replay_size: 1000}}
    entropy: {{coefficient: 1}}
    network: {{hidden_sizes: [8]}}
"""


NEW = ("heard", "late")


def camera(name: str, *, pixels: int = 1000) -> BehaviourSpec:
    """Each row of a replay: the pixels, 4 bytes of a choice, 2 flags of choices, 22 of the step."""
    eye = ObservationSpec("eye", (pixels,), dtype="uint8")
    return BehaviourSpec(name, (eye,), ActionSpec(branches=(2,)))


async def bring(run: TrainingRun, spec: BehaviourSpec) -> None:
    """Join one rank's simulators with a behaviour, as one that dials does."""
    who = JoinRequest(spec.name, instance_id="1", peer="here", specs=(spec,), max_agents=0)
    async with run.participants.behaviours.preparing(who.specs):
        run.participants.join(who)


class Ranks:
    """Two ranks that train a ball, of which each has a simulator."""

    def __init__(self, run: RankedRun, running: asyncio.TaskGroup, *, resumed: bool) -> None:
        self.runs = run.make(resumed=resumed).runs
        self._stop = asyncio.Event()
        self._running = [running.create_task(each.run(self._stop)) for each in self.runs]

    async def learn(self) -> None:
        """Return once each rank has learned once more."""
        aims = [_updates(run) + 1 for run in self.runs]
        async with asyncio.timeout(60.0):
            while any(_updates(run) < aim for run, aim in zip(self.runs, aims, strict=True)):
                await asyncio.sleep(0.001)

    async def serve(self, *names: str) -> None:
        """Return once each rank serves these behaviours and no others."""
        async with asyncio.timeout(60.0):
            while not all(_served(run) == set(names) for run in self.runs):
                await asyncio.sleep(0.001)

    async def end(self) -> list[str]:
        """Stop all; returns how each ended."""
        self._stop.set()
        return await asyncio.gather(*self._running)


def _updates(run: TrainingRun) -> int:
    return run.trainers["ball"].progress.updates if "ball" in run.trainers else 0


def _served(run: TrainingRun) -> set[str]:
    return {behaviour.name for behaviour in run.participants.behaviours}


@asynccontextmanager
async def training(run: RankedRun, port: int, *, resumed: bool = False) -> AsyncIterator[Ranks]:
    """Within the block all ranks have learned once, and go on to; a rank that fails ends it."""
    with ExitStack() as stack:
        for rank in range(2):
            ball = {f"ball-{rank}": BalanceBall(count=3)}
            stack.enter_context(simulators(f"localhost:{port + rank}", ball, reconnect_s=0.0))
        async with asyncio.TaskGroup() as running:
            ranks = Ranks(run, running, resumed=resumed)
            await ranks.learn()
            yield ranks
            assert await ranks.end() == ["stopped", "stopped"]


def ranked_run(folder: Path, port: int) -> RankedRun:
    """Of the replays of 0.98 MiB (1,000 * 1,028 bytes), each of two ranks may have one."""
    return RankedRun(config_from(CONFIG.format(port=port), folder), folder)


def known(run: RankedRun) -> list[list[BehaviourSpec]]:
    """The behaviours of each rank in the newest checkpoint, by their numbers."""
    state = run.checkpoints.load_newest().state
    return [
        [BehaviourSpec.from_state(spec) for _, spec in sorted(it["together"]["behaviours"].items())]
        for it in (state, state["ranks"]["1"])
    ]


async def test_of_two_that_fit_only_alone_one_simulator_is_refused_and_all_ranks_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, number_of = asyncio.Barrier(2), Together.number_of

    async def at_once(self: Together, spec: BehaviourSpec, number: int) -> int:
        # Each has found that its own fits, and claims it once the other has.
        if spec.name == ("left", "right")[self.place.rank]:
            await both.wait()
        return await number_of(self, spec, number)

    run = ranked_run(tmp_path, port := free_ports(2))
    specs = camera("left"), camera("right")
    async with training(run, port) as ranks:
        with monkeypatch.context() as patch:
            patch.setattr(Together, "number_of", at_once)
            refusals = await asyncio.gather(*map(bring, ranks.runs, specs), return_exceptions=True)
        rank = refusals.index(None)
        accepted, refused = specs[rank], specs[1 - rank]
        assert isinstance(refusal := refusals[1 - rank], BadHelloError)
        assert str(refusal).startswith(
            f"{refused.name}@here cannot be given a policy: behaviour '{refused.name}': its replay "
            "would take 0.98 MiB (1,000 observations of 1,028 bytes each), all 2 replays together "
            "1.96 MiB, and each checkpoint, which holds those of each of 2 ranks, may have 1.25; "
        )
        await ranks.serve("ball", accepted.name)
        await ranks.learn()
        # What has room is taken, of the same name too: 0.98 MiB and 1,000 * 228 bytes.
        smaller = camera(refused.name, pixels=200)
        await bring(ranks.runs[1 - rank], smaller)
        await ranks.serve("ball", accepted.name, refused.name)
    assert known(run) == [[*BalanceBall().behaviours, accepted, smaller]] * 2


async def test_what_one_rank_alone_serves_when_all_stop_all_serve_when_they_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = RankBehaviours.note

    def note_all_but_late(self: RankBehaviours, fields: Mapping[str, Any]) -> None:
        if self._link.place.rank or fields["spec"]["name"] != "late":
            note(self, fields)

    async def never_admit(self: RankBehaviours, spec: BehaviourSpec, *_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    run = ranked_run(tmp_path, port := free_ports(2))
    ball, (heard, late) = BalanceBall().behaviours, map(partial(camera, pixels=200), NEW)
    async with training(run, port) as ranks:
        # Rank 0 still makes the networks of one when it stops, and has not heard of the other.
        monkeypatch.setattr(RankBehaviours, "admit", never_admit)
        monkeypatch.setattr(RankBehaviours, "note", note_all_but_late)
        await bring(ranks.runs[1], heard)
        await bring(ranks.runs[1], late)
    assert [set(each.trainers) for each in ranks.runs] == [{"ball"}, {"ball", *NEW}]
    assert known(run) == [[*ball, heard], [*ball, heard, late]]
    monkeypatch.undo()
    async with training(run, port, resumed=True) as ranks:
        await ranks.serve("ball", *NEW)
    assert known(run) == [[*ball, heard, late]] * 2
