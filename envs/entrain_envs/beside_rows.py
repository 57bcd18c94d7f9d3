"""The part of a client that is not rows: which behaviours it declares, and what it reports."""

from collections.abc import Mapping, Sequence

from entrain_envs.dialling import Dialler
from entrain_envs.errors import MisfitError, SpecError
from entrain_envs.noted import NotedStatistics
from entrain_envs.session import Session
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.statistics import Aggregation
from entrain_envs.wire import trainer_pb2 as pb


class BesideRows:
    """See the module. `client.TrainerClient` adds the rows."""

    def __init__(
        self, behaviours: Mapping[str, BehaviourSpec], dialler: Dialler, session: Session
    ) -> None:
        self._specs = behaviours
        self._dialler = dialler
        self._joined = session
        self._undeclared: list[BehaviourSpec] = []
        self._noted = NotedStatistics()
        self._has_beside_rows = False
        """Whether any of these two go with the next Step."""

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """Every kind of agent this simulator may send."""
        return tuple(self._specs.values())

    def add_behaviours(self, behaviours: Sequence[BehaviourSpec]) -> None:
        """Declare more kinds of agents; the next step that is sent may have rows of them.

        The trainer makes their policies before it answers that step. A behaviour that is declared
        already may be among them.

        Raises:
            SpecError: one of that name has another spec.
            MisfitError: the trainer is too old; declare all behaviours when the client is made.
        """
        new = [spec for spec in behaviours if self._specs.get(spec.name) != spec]
        for spec in new:
            if spec.name in self._specs:
                raise SpecError(
                    f"behaviour '{spec.name}' was declared otherwise before: "
                    f"{self._specs[spec.name]}, now {spec}; give it another name"
                )
        session = self._joined
        if new and session.connection is not None and session.welcome.revision < 1:
            raise MisfitError(
                f"'{self._dialler.simulator}' brings behaviour '{new[0].name}' after it has "
                "joined, which this trainer is too old for; declare every behaviour when the "
                "client is made, or upgrade the trainer"
            )
        self._specs = {**self._specs, **by_name(new)} if new else self._specs
        self._dialler.declare(new)
        self._undeclared.extend(new)
        self._has_beside_rows = True

    def note(self, name: str, value: float, aggregation: Aggregation = "mean") -> None:
        """Report a number for people: the trainer shows it beside its metrics.

        It goes with the next step that is sent. A value that is not finite, or too many for one
        step, is left out, which is logged once. A trainer that is too old shows none.

        Args:
            name: such as `coins` or `player/speed`.
            value: one of any number of values.
            aggregation: what becomes of all values between two updates: their mean, their sum, the
                last of them, or how they are distributed (`histogram`).

        Raises:
            SpecError: `name` or `aggregation` is not allowed.
        """
        self._noted.add(name, value, aggregation)
        self._has_beside_rows = True

    def _add_beside_rows(self, step: pb.Step) -> int:
        """Put what is not rows into a Step; returns at most how many bytes."""
        if self._joined.welcome.revision < 1:
            return 0
        step.new_behaviours.extend(map(encode_spec, self._undeclared))
        step.statistics.extend(self._noted.messages())
        return step.ByteSize()

    def _clear_beside_rows(self) -> None:
        """All of it was sent."""
        self._undeclared.clear()
        self._noted.clear()
        self._has_beside_rows = False


def by_name(behaviours: Sequence[BehaviourSpec]) -> Mapping[str, BehaviourSpec]:
    """{name: spec}; SpecError if there are none, or two of one name."""
    specs = {spec.name: spec for spec in behaviours}
    if len(specs) != len(behaviours) or not behaviours:
        raise SpecError(
            f"a simulator needs behaviours of different names, at least one; "
            f"it was given {[spec.name for spec in behaviours]}"
        )
    return specs
