"""The kinds of agents of a run: each with one spec for all simulators, its slots, its queue.

Nothing here knows of streams or sessions.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

import numpy as np

from entrain.config.run import ServerConfig
from entrain.errors import BadHelloError, CheckpointError, ConfigError, RefusedHelloError
from entrain.serving.batcher import CallLater, RequestBatcher, call_later_on_loop
from entrain.serving.limits import Limit, check_row, max_message_bytes
from entrain.serving.slots import SlotTable
from entrain.state import State
from entrain_envs import codec
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb


class Behaviour:
    """One kind of agent. `async for requests in behaviour.batcher` serves it."""

    def __init__(
        self,
        spec: BehaviourSpec,
        config: ServerConfig,
        *,
        clock: Callable[[], float],
        call_later: CallLater,
    ) -> None:
        self.spec = spec
        self.slots = SlotTable()
        self.batcher = RequestBatcher(spec, self.slots, config, clock=clock, call_later=call_later)
        self.agents = Limit(
            config.max_agents, of=f"agents of behaviour '{spec.name}'", option="server.max_agents"
        )
        self.no_rows = no_rows(spec)
        """What a simulator is taken to have sent that has no agents of this behaviour now."""

    def __repr__(self) -> str:
        return f"<Behaviour {self.spec}>"

    @property
    def name(self) -> str:
        """As in the spec."""
        return self.spec.name


def prepare_nothing(_specs: Sequence[BehaviourSpec]) -> None:
    """Take every behaviour as it comes: whoever serves it is there already."""


class Behaviours:
    """All kinds of agents seen so far. Owned by the event loop."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        accepts: Callable[[str], bool],
        policies: Sequence[str],
        prepare: Callable[[Sequence[BehaviourSpec]], None] = prepare_nothing,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater = call_later_on_loop,
    ) -> None:
        """No behaviours yet.

        Args:
            config: limits and batching.
            accepts: whether the run has a policy for a behaviour of that name.
            policies: the names it has policies for, for messages.
            prepare: gets the run ready for new behaviours, before any of them is known; ConfigError
                and ready for none if it cannot serve one.
            clock: seconds.
            call_later: how to be called back after seconds.
        """
        self._config = config
        self._accepts = accepts
        self._policies = tuple(policies)
        self._prepare = prepare
        self._clock = clock
        self._call_later = call_later
        self._by_name: dict[str, Behaviour] = {}
        self._opened: asyncio.Queue[Behaviour | None] = asyncio.Queue()

    def __iter__(self) -> Iterator[Behaviour]:
        return iter(self._by_name.values())

    def check(self, spec: BehaviourSpec, *, who: str) -> None:
        """Raise unless a simulator with this behaviour may join.

        BadHelloError if the run has no policy for it, or no message could hold a row of it;
        RefusedHelloError if it is known by another spec.
        """
        if not self._accepts(spec.name):
            names = ", ".join(f"'{name}'" for name in self._policies)
            raise BadHelloError(
                f"{who} has behaviour '{spec.name}', and this run has no policy for it (it has: "
                f'{names}); rename the behaviour, or add policies.{spec.name} or "*"'
            )
        check_row(spec, limit=max_message_bytes(self._config), who=who)
        known = self._by_name.get(spec.name)
        if known is not None and known.spec != spec:
            raise RefusedHelloError(
                f"{who} declares a behaviour that differs from the one this run knows:\n"
                f"  this run: {known.spec}\n"
                f"  {who}: {spec}\n"
                "use the same build of the simulator everywhere, or give the behaviour another name"
            )

    def prepare(self, specs: Sequence[BehaviourSpec], *, who: str) -> None:
        """Get the run ready for those that are new; BadHelloError, and for none, if it cannot be.

        For `admit` must follow: what was made ready is counted as there.
        """
        try:
            self._prepare([spec for spec in specs if spec.name not in self._by_name])
        except ConfigError as error:
            raise BadHelloError(f"{who} cannot be given a policy: {error}") from error

    def admit(self, spec: BehaviourSpec) -> Behaviour:
        """The behaviour of that spec, made if it is new. `check` and `prepare` it first."""
        behaviour = self._by_name.get(spec.name)
        if behaviour is None:
            behaviour = self._by_name[spec.name] = Behaviour(
                spec, self._config, clock=self._clock, call_later=self._call_later
            )
            self._opened.put_nowait(behaviour)
        return behaviour

    async def opened(self) -> AsyncIterator[Behaviour]:
        """Behaviours as they are first seen. Ends with `close`. For one consumer."""
        while (behaviour := await self._opened.get()) is not None:
            yield behaviour

    def note_sent(self) -> None:
        """A message is on its way to a simulator."""
        for behaviour in self:
            behaviour.batcher.note_sent()

    def close(self) -> None:
        """No more batches, and no more new behaviours."""
        self._opened.put_nowait(None)
        for behaviour in self:
            behaviour.batcher.close()

    def state(self) -> State:
        """Specs and slot tables."""
        return {
            str(index): {
                "spec": codec.encode_spec(behaviour.spec).SerializeToString(deterministic=True),
                "slots": behaviour.slots.state(),
            }
            for index, behaviour in enumerate(self)
        }

    def load_state(self, state: State) -> None:
        """Know the behaviours and slots that `state` was taken of; ConfigError as of `prepare`."""
        for index in sorted(state, key=int):
            spec = codec.decode_spec(pb.BehaviourSpec.FromString(state[index]["spec"]))
            if not self._accepts(spec.name):
                raise CheckpointError(
                    f"the checkpoint has behaviour '{spec.name}', and the configuration has no "
                    f"policy for it (it has: {', '.join(self._policies)})"
                )
            self._prepare([spec])
            self.admit(spec).slots.load_state(state[index]["slots"])


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


def by_name(behaviours: Sequence[Behaviour]) -> Mapping[str, Behaviour]:
    """{name: behaviour}, in order."""
    return {behaviour.name: behaviour for behaviour in behaviours}
