"""Makes a training run one of several ranks, which begin, save and end together.

docs/ranks.md says what they agree on; `rank_hub` is who decides.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import torch

from entrain.app.apart import Apart, Changed, Parameters, RunPart
from entrain.app.checkpointing import Checkpointing
from entrain.app.rank_behaviours import RankBehaviours
from entrain.app.rank_claims import judge_claims
from entrain.app.rank_errands import Errands
from entrain.app.rank_gathering import Gathering
from entrain.app.rank_hub import RankHub
from entrain.app.rank_joining import Joining, new_token
from entrain.app.rank_link import RankLink
from entrain.app.rank_meeting import Meeting
from entrain.app.rank_messages import Message
from entrain.app.rank_states import own_steps
from entrain.app.shared_checkpointing import SharedCheckpointing
from entrain.config.run import RunConfig
from entrain.errors import (
    EntrainError,
    RankFailedError,
    RankLostError,
    describe,
    ungrouped,
)
from entrain.ranked_trainer import RankedTrainer
from entrain.ranks import DistributedRanks, Ranks
from entrain.rollout.curricula import Curricula
from entrain.rollout.shared_curricula import SharedCurricula
from entrain.run.checkpoint import Loaded
from entrain.state import State
from entrain.trainer import Trainer
from entrain_envs.spec import BehaviourSpec

logger = logging.getLogger(__name__)

_SEEDS = 15_485_863
"""Between the seeds of two ranks."""


class _RankLearners(ThreadPoolExecutor):
    """Waits for no update that an error has left behind: a lost rank may never answer it."""

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.shutdown(wait=kind is None, cancel_futures=kind is not None)


class Together(Apart):
    """See the module. Owned by the event loop."""

    def __init__(self, meeting: Meeting, config: RunConfig) -> None:
        """Nobody is connected.

        Args:
            meeting: where ranks meet.
            config: of the run.
        """
        self.place = meeting.place
        self.is_over = False
        self._meeting = meeting
        self._max_wait_s = None if config.server.lockstep else config.ranks.max_wait_s
        self._most_policies = config.server.max_behaviours
        self._judge = judge_claims(config, self.place.size)
        self._link = RankLink(self.place)
        self._link.on_message = self._hear
        self.states = Gathering(self._link)
        """Gathers the states of all ranks for checkpoints."""
        self._behaviours = RankBehaviours(self._link)
        self._joined = asyncio.Event()
        self._run: RunPart | None = None
        self._curricula = SharedCurricula({}, lambda _values, _must_reset: None)
        self._stop = asyncio.Event()
        self._errands = Errands()

    def __repr__(self) -> str:
        return f"<Together: {self.place}>"

    def require(self, restored: Loaded) -> None:
        """Each rank is given its part; see `rank_states.of_rank`."""

    def make_learners(self, config: RunConfig, *, processors: int) -> ThreadPoolExecutor:
        """A thread for every policy: ranks may begin updates in another order, and all wait."""
        threads = min(config.update_threads, processors)
        return _RankLearners(
            self._most_policies,
            thread_name_prefix="learner",
            initializer=torch.set_num_threads,
            initargs=(threads,),
        )

    def checkpointing(self, made: Checkpointing) -> Checkpointing:
        """Rank 0 writes what all send it."""
        parts = made, self.states, self.send_last, self._note_last
        return SharedCheckpointing(*parts, is_first=self.place.rank == 0)

    def ranks_of(self, behaviour: str) -> Ranks:
        """See `Apart`."""
        return DistributedRanks(self._meeting.group(behaviour))

    def seed(self, seed: int) -> int:
        """See `Apart`."""
        return seed + _SEEDS * self.place.rank

    def make_curricula(self, parameters: Parameters, changed: Changed) -> Curricula:
        """See `Apart`; the episodes of all ranks decide."""
        self._curricula = SharedCurricula(parameters, changed)
        return self._curricula

    def make_trainer(self, behaviour: str, **parts: Any) -> Trainer[Any]:
        """See `Apart`."""
        return RankedTrainer(
            behaviour,
            rounds=self._link.rounds_of(behaviour),
            num_ranks=self.place.size,
            lessons=self._curricula,
            **parts,
        )

    async def number_of(self, spec: BehaviourSpec, number: int) -> int:
        """See `Apart`; ConfigError as of `RankBehaviours.claim`."""
        del number
        return await self._behaviours.claim(spec)

    def known_number(self, behaviour: str, number: int) -> int:
        """See `Apart`."""
        return self._behaviours.numbers.get(behaviour, number)

    def state(self) -> State:
        """Which number each behaviour has, and whether all ranks are done."""
        return {"together": {"is_over": self.is_over, "behaviours": self._behaviours.state()}}

    def load_state(self, state: State) -> None:
        """Go on where `state`, of the run, was taken."""
        self.is_over = bool(state["together"]["is_over"])
        self._behaviours.load_state(state["together"]["behaviours"])

    @asynccontextmanager
    async def connected(self, run: RunPart, stop: asyncio.Event) -> AsyncIterator[None]:
        """See `Apart`."""
        self._run, self._stop = run, stop
        for name in run.trainers:
            self._behaviours.note_admitted(name)
        try:
            joining = Joining(
                self._meeting, self._link, stop=stop, failed=lambda: self.states.error
            )
            if self.place.rank:
                await joining.follow()
            else:
                token = new_token()
                hub = self.states.hub = RankHub(
                    self.place, token, judge=self._judge, max_wait_s=self._max_wait_s
                )
                hub.know(self._behaviours.state())
                await joining.lead(hub, token)
            await joining.until_all_are_there(self._joined)
            self._behaviours.claim_known()
            logger.info("all %d ranks are there; this is rank %d", self.place.size, self.place.rank)
            with ungrouped():
                yield
            self._conclude(0, "")
        except BaseException as error:
            self._tell_of(error)
            raise
        finally:
            self._meeting.close()
            await self._link.close()
            if self.states.hub is not None:
                await self.states.hub.stop()

    def _tell_of(self, error: BaseException) -> None:
        """The others end, too, and say why."""
        words = describe(error) if isinstance(error, Exception) else type(error).__name__
        code = error.exit_code if isinstance(error, EntrainError) else EntrainError.exit_code
        self._conclude(code, words)
        if not isinstance(error, RankLostError | RankFailedError):
            self._link.say("fail", reason=words, exit_code=code)

    def _conclude(self, code: int, words: str) -> None:
        if self.states.hub is not None:
            self.states.hub.conclude({"exit_code": code, "reason": words})

    def tasks(self) -> list[Coroutine[None, None, None]]:
        """See `Apart`."""
        return [self._follow()]

    async def _follow(self) -> None:
        """Do what rank 0 says. Never returns; raises once a rank has failed or is lost."""
        async with self._errands.done():
            await self.states.until_failure()

    def _hear(self, message: Message) -> None:
        """A message of rank 0."""
        fields = message.fields
        match message.kind:
            case "welcome":
                self._joined.set()
            case "behaviour":
                self._behaviours.note(fields)
                self._errands.do(functools.partial(self._admit, fields))
            case "refused":
                self._behaviours.note_refused(fields)
            case "cut" | "finish" | "snapshot":
                self._errands.do(functools.partial(self._do, message.kind, fields))
            case "end":
                self._note_over(fields["steps"])
            case "stop":
                self._note_stop(fields)
            case "fail":
                self._note_failure(fields)
            case "saving":
                self.states.note_saving(message)
            case "concluded":
                self.states.conclude(message)

    def _do(self, kind: str, fields: Mapping[str, Any]) -> None:
        assert self._run is not None
        if self._link.is_stopping:
            return
        if kind == "snapshot":
            taking = self.states.take(int(fields["number"]), self._trainers, self._run.state)
            self._errands.begin(taking)
        else:
            self._run.serve_also(self._cut(fields["policy"], fields.get("round")))

    def _trainers(self) -> Sequence[RankedTrainer[Any]]:
        assert self._run is not None
        return [it for it in self._run.trainers.values() if isinstance(it, RankedTrainer)]

    async def send_last(self) -> None:
        """Send the state of this rank at the end, and wait until rank 0 has saved it."""
        assert self._run is not None
        await self.states.send_last(self._run.state)

    async def _cut(self, policy: str, number: int | None) -> None:
        assert self._run is not None
        await self._behaviours.until_admitted(policy)
        trainer = self._run.trainers[policy]
        assert isinstance(trainer, RankedTrainer)
        await (trainer.finish_early() if number is None else trainer.cut_short(number))

    def _admit(self, fields: Mapping[str, Any]) -> None:
        assert self._run is not None
        who = f"rank {fields['rank']}"
        spec = BehaviourSpec.from_state(fields["spec"])
        self._errands.begin(self._behaviours.admit(spec, self._run, who=who))

    def _note_stop(self, fields: Mapping[str, Any]) -> None:
        assert self._run is not None
        words = f"rank {fields['rank']}: {fields['reason']}"
        is_own = fields["rank"] == self.place.rank
        if not fields["exit_code"]:
            if not is_own:
                logger.info("%s; all ranks stop", words)
            self._stop.set()
        elif not is_own:
            logger.error("%s; all ranks end", words)
            self._run.fail(RankFailedError(words, exit_code=int(fields["exit_code"])))

    def _note_failure(self, fields: Mapping[str, Any]) -> None:
        rank, reason = fields["rank"], fields["reason"]
        if rank == self.place.rank:
            return
        words = reason if rank < 0 else f"rank {rank} failed: {reason}"
        logger.error("%s; the newest checkpoint stands", words)
        code = int(fields["exit_code"])
        is_lost = rank < 0
        self.states.fail(
            RankLostError(words) if is_lost else RankFailedError(words, exit_code=code)
        )

    def _note_over(self, steps: Mapping[str, Mapping[str, int]]) -> None:
        assert self._run is not None
        self.is_over = True
        self._note_steps(
            {
                name: {int(rank): count for rank, count in by_rank.items()}
                for name, by_rank in steps.items()
            }
        )
        self._run.note_completion()

    def _note_last(self, state: State) -> None:
        """The run ends: count what other ranks have closed since the last round, too."""
        self._note_steps(own_steps(state))

    def _note_steps(self, steps: Mapping[str, Mapping[int, int]]) -> None:
        assert self._run is not None
        for trainer in self._trainers():
            # A behaviour that another rank was brought last may have no trainer here yet.
            if trainer.behaviour in steps:
                trainer.note_all(steps[trainer.behaviour])

    def note_done(self) -> bool:
        """See `Apart`."""
        if not self.is_over:
            self._link.say("done")
        return self.is_over

    def note_end(self, *, failure: EntrainError | None) -> None:
        """See `Apart`."""
        if self.is_over or self._link.is_stopping:
            return
        reason = "asked to stop" if failure is None else str(failure)
        self._link.say("stop", reason=reason, exit_code=0 if failure is None else failure.exit_code)
