"""The behaviours of a run: each has one spec for all simulators, its slots and its queue.

Nothing here knows of simulators.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import numpy as np

from entrain.config.run import ServerConfig
from entrain.errors import (
    BadHelloError,
    CheckpointError,
    ConfigError,
    LimitError,
    RefusedHelloError,
)
from entrain.quoting import listed
from entrain.serving.batcher import CallLater, RequestBatcher, call_later_on_loop
from entrain.serving.limits import Limit, check_row, max_message_bytes
from entrain.serving.measures import Measures
from entrain.serving.slots import SlotTable
from entrain.serving.spec_differences import spec_differences
from entrain.state import State
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import TimestepBatch


class Behaviour:
    """One kind of agent. `async for requests in behaviour.batcher` serves it."""

    def __init__(
        self,
        spec: BehaviourSpec,
        config: ServerConfig,
        *,
        clock: Callable[[], float],
        call_later: CallLater,
        measures: Measures | None,
    ) -> None:
        self.spec = spec
        self.slots = SlotTable()
        self.batcher = RequestBatcher(
            spec,
            self.slots,
            config,
            clock=clock,
            call_later=call_later,
            sizes=None if measures is None else measures.batch_rows,
        )
        self.agents = Limit(
            config.max_agents, of=f"agents of behaviour '{spec.name}'", option="server.max_agents"
        )
        self.no_rows = no_rows(spec)
        """The rows of a simulator that has no agents of this behaviour at the moment."""

    def __repr__(self) -> str:
        return f"<Behaviour {self.spec}>"

    @property
    def name(self) -> str:
        """As in the spec."""
        return self.spec.name


Opener = Callable[[Sequence[Behaviour]], None]
"""Gets a run ready to serve new behaviours, before the simulator that brought them is welcomed.
ConfigError, and ready for none of them, if it cannot serve one. Called once for each behaviour."""


Preparation = Callable[[Sequence[BehaviourSpec]], AbstractAsyncContextManager[None]]
"""Makes what new behaviours need, without keeping the event loop from anything else. Within its
block the `Opener` finds it; what it did not take is thrown away after the block."""


def prepare_nothing(_specs: Sequence[BehaviourSpec]) -> AbstractAsyncContextManager[None]:
    """Nothing takes long enough to be made beforehand."""
    return nullcontext()


def open_nothing(_behaviours: Sequence[Behaviour]) -> None:
    """Accept every behaviour: what serves it exists already."""


class Behaviours:
    """All behaviours that simulators brought so far. Owned by the event loop."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        accepts: Callable[[str], bool],
        policies: Sequence[str],
        remedy: Callable[[str], str] = lambda behaviour: f"give it a policy '{behaviour}'",
        on_new: Opener = open_nothing,
        prepare: Preparation = prepare_nothing,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater = call_later_on_loop,
        measures: Measures | None = None,
    ) -> None:
        """No behaviours yet.

        Args:
            config: limits and batching.
            accepts: whether the run has a policy for a behaviour of that name.
            policies: the names it has policies for, for messages.
            remedy: given a behaviour without a policy, how it gets one, in words.
            on_new: given new behaviours before anyone may send rows of them.
            prepare: makes beforehand what `on_new` would take long for.
            clock: seconds.
            call_later: how to be called back after seconds.
            measures: count batches; None counts nothing.
        """
        self._config = config
        self._measures = measures
        self._accepts = accepts
        self._policies = tuple(policies)
        self._remedy = remedy
        self._on_new = on_new
        self._prepare = prepare
        self._turn = asyncio.Lock()
        self._clock = clock
        self._call_later = call_later
        self._by_name: dict[str, Behaviour] = {}
        self._is_closed = False

    def __iter__(self) -> Iterator[Behaviour]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Behaviour:
        return self._by_name[name]

    def check(self, spec: BehaviourSpec, *, who: str) -> None:
        """Raise unless a simulator with this behaviour may take part.

        BadHelloError if the run has no policy for it, or no message could hold a row of it;
        RefusedHelloError if it is known by another spec.
        """
        if not self._accepts(spec.name):
            names = listed([f"'{name}'" for name in self._policies])
            raise BadHelloError(
                f"{who} has behaviour '{spec.name}', and this run has no policy for it (it has: "
                f"{names}); rename the behaviour, or {self._remedy(spec.name)}"
            )
        check_row(spec, limit=max_message_bytes(self._config), who=who)
        known = self._by_name.get(spec.name)
        if known is not None and known.spec != spec:
            differences = listed(spec_differences(spec, known.spec), between="; ")
            raise RefusedHelloError(
                f"{who} declares behaviour '{spec.name}' otherwise than this run knows it: "
                f"{differences}; use the same build of the simulator everywhere, or give the "
                "behaviour another name"
            )

    def check_count(self, specs: Sequence[BehaviourSpec], *, who: str) -> None:
        """Raise LimitError if the run would have too many behaviours with these."""
        new = len(self._new(specs))
        most = self._config.max_behaviours
        if new and len(self._by_name) + new > most:
            raise LimitError(
                f"{who} brings {new:,} new behaviours where this run has {len(self._by_name):,} of "
                f"the {most:,} that it allows; raise server.max_behaviours of the trainer, or give "
                "agents that are alike one behaviour"
            )

    @asynccontextmanager
    async def preparing(self, specs: Sequence[BehaviourSpec]) -> AsyncIterator[None]:
        """Make what `admit` needs, one caller at a time, so that it is quick within the block.

        Simulators whose behaviours are known already do not wait.
        """
        if not self._new(specs):
            yield
            return
        async with self._turn, self._prepare(self._new(specs)):
            yield

    def _new(self, specs: Sequence[BehaviourSpec]) -> Sequence[BehaviourSpec]:
        return [spec for spec in specs if spec.name not in self._by_name]

    def admit(self, specs: Sequence[BehaviourSpec], *, who: str) -> Sequence[Behaviour]:
        """The behaviours of these specs, made where they are new. `check` them first.

        Raises:
            BadHelloError: the run cannot serve one of them; then none was made.
        """
        new = [self._make(spec) for spec in self._new(specs)]
        if new:
            try:
                self._on_new(new)
            except ConfigError as error:
                raise BadHelloError(f"{who} cannot be given a policy: {error}") from error
        self._by_name.update({behaviour.name: behaviour for behaviour in new})
        return [self._by_name[spec.name] for spec in specs]

    def _make(self, spec: BehaviourSpec) -> Behaviour:
        made = Behaviour(
            spec,
            self._config,
            clock=self._clock,
            call_later=self._call_later,
            measures=self._measures,
        )
        if self._is_closed:
            made.batcher.close()
        return made

    @property
    def has_batch_out(self) -> bool:
        """Whether a batch was handed out and is not answered yet."""
        return any(behaviour.batcher.unanswered is not None for behaviour in self)

    def close(self) -> None:
        """No more batches, also of behaviours that are new from here on."""
        self._is_closed = True
        for behaviour in self:
            behaviour.batcher.close()

    def state(self) -> State:
        """Specs and slot tables."""
        return {
            str(index): {"spec": behaviour.spec.state(), "slots": behaviour.slots.state()}
            for index, behaviour in enumerate(self)
        }

    def load_state(self, state: State) -> None:
        """Know the behaviours and slots that `state` was taken of; ConfigError as of `Opener`."""
        for index in sorted(state, key=int):
            spec = BehaviourSpec.from_state(state[index]["spec"])
            if not self._accepts(spec.name):
                raise CheckpointError(
                    f"the checkpoint has behaviour '{spec.name}', and the configuration has no "
                    f"policy for '{spec.name}' (it has: {', '.join(self._policies)})"
                )
            behaviour = self._make(spec)
            behaviour.slots.load_state(state[index]["slots"])
            self._on_new([behaviour])
            self._by_name[spec.name] = behaviour


def no_rows(spec: BehaviourSpec) -> TimestepBatch:
    """Zero timesteps of the behaviour."""
    return TimestepBatch(
        agent_id=np.empty(0, np.int64),
        step_type=np.empty(0, np.uint8),
        reward=np.empty(0, np.float32),
        observation={
            observation.name: np.empty((0, *observation.shape), observation.numpy_dtype)
            for observation in spec.observations
        },
        action_mask=np.empty((0, spec.action.num_choices), np.bool_),
    )
