"""The trainers of one run: one for each behaviour, made when a simulator first brings it."""

import difflib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from typing import Any

from entrain.app.apart import Apart
from entrain.app.build import policy_options, policy_states
from entrain.app.idle_policies import IdlePolicies, Standing
from entrain.app.learning_parts import AnyAlgorithm
from entrain.app.trainer_factory import TrainerFactory
from entrain.config.run import RunConfig
from entrain.errors import TrainingDivergedError, UnlearnableRolloutError
from entrain.inference.policy import InferencePolicy
from entrain.policy.actor_critic import ActorNetwork
from entrain.run.summary import PolicySummary
from entrain.state import State
from entrain.trainer import Recorder, Trainer
from entrain_envs.spec import BehaviourSpec

logger = logging.getLogger(__name__)


class Trainers:
    """Holds trainers in the order in which they came. Owned by the event loop."""

    def __init__(
        self,
        config: RunConfig,
        *,
        learners: Executor,
        recorder: Recorder,
        begun: Set[str] = frozenset(),
        before_update: Callable[[str, int], None] = lambda _behaviour, _number: None,
        clock: Callable[[], float] = time.monotonic,
        together: Apart | None = None,
    ) -> None:
        """Begin without any.

        Args:
            config: of the run.
            learners: run the updates of all trainers.
            recorder: is told of every update.
            begun: behaviours of whose policies `load_state` will be given the weights.
            before_update: told behaviour and number of an update right before it begins.
            clock: seconds in which the run goes on.
            together: with which other ranks they learn; None for none.
        """
        self._config = config
        self._by_name: dict[str, Trainer[Any]] = {}
        self._policies: dict[str, ActorNetwork] = {}
        self._algorithms: dict[str, AnyAlgorithm] = {}
        self.acting: dict[str, InferencePolicy] = {}
        """{behaviour: the weights by which its agents act}."""
        self._asked_for: list[str] = []
        self._idle_policies = IdlePolicies(after_s=config.simulators.idle_s, clock=clock)
        self._idle_guests: Set[str] = frozenset()
        self._factory = TrainerFactory(
            config,
            learners=learners,
            recorder=recorder,
            begun=begun,
            before_update=before_update,
            goes_on=self._is_anybody_learning,
            together=together or Apart(),
        )

    def __repr__(self) -> str:
        return f"<Trainers of {', '.join(self._by_name) or 'no behaviour'}>"

    @property
    def by_name(self) -> Mapping[str, Trainer[Any]]:
        """{behaviour: its trainer}."""
        return self._by_name

    @property
    def policies(self) -> Mapping[str, ActorNetwork]:
        """{behaviour: its policy}."""
        return self._policies

    @property
    def env_steps(self) -> int:
        """Outcomes received, over all policies."""
        return sum(self.env_steps_by_name.values())

    @property
    def env_steps_by_name(self) -> Mapping[str, int]:
        """{behaviour: outcomes received}."""
        return {name: trainer.progress.env_steps for name, trainer in self._by_name.items()}

    @property
    def have_state(self) -> bool:
        """True if `state` may be called: no update runs that must end first."""
        return all(trainer.has_state for trainer in self._by_name.values())

    def prepared(self, specs: Sequence[BehaviourSpec]) -> AbstractAsyncContextManager[None]:
        """Within the block `make_all` takes no time; see `TrainerFactory`."""
        return self._factory.prepared(specs, before=self._policies)

    def make_all(self, specs: Sequence[BehaviourSpec]) -> None:
        """Make a trainer for each of these new behaviours, or, if one cannot be made, for none.

        Called before the simulator with these behaviours is welcomed: only that simulator is
        refused if its behaviours do not fit.

        Raises:
            ConfigError: names the behaviour and says why it does not fit.
        """
        all_made = self._factory.make_all(specs, before=self._policies)
        for spec, made in zip(specs, all_made, strict=True):
            self._by_name[spec.name], self._policies[spec.name] = made.trainer, made.policy
            self._algorithms[spec.name] = made.algorithm
            self.acting[spec.name] = made.acting

    def configure(self, config: RunConfig) -> None:
        """From now on, make trainers with these options; see `change` for those that are there."""
        self._config = config
        self._factory.configure(config)

    def change(self, behaviour: str) -> None:
        """Let a policy learn with the options of now; not while an update of it runs."""
        self._algorithms[behaviour].change(policy_options(self._config, behaviour))

    @property
    def divergence(self) -> TrainingDivergedError | None:
        """Why policies learn no more that have diverged; None if none has."""
        errors = [each.divergence for each in self._by_name.values() if each.divergence is not None]
        if len(errors) < 2:
            return errors[0] if errors else None
        return TrainingDivergedError("; ".join(map(str, errors)))

    @property
    def leave_out(self) -> bool:
        """Whether a rollout is to be left out when the run is resumed."""
        return any(
            isinstance(each.divergence, UnlearnableRolloutError) for each in self._by_name.values()
        )

    def _is_anybody_learning(self) -> bool:
        """Whether a policy learns, or one that the configuration names is to come."""
        return bool(self.awaited) or not all(each.is_complete for each in self._by_name.values())

    def warn_of_missing(self) -> None:
        """Log which policies of the file no simulator has brought, with the likeliest reason."""
        for name in self._missing():
            brought = ", ".join(f"'{each}'" for each in self._by_name)
            near = difflib.get_close_matches(name, self._by_name, n=1)
            meant = f"; did you mean '{near[0]}'?" if near else ""
            logger.warning(
                "no simulator has brought the behaviour of policy '%s' yet (they brought: %s)%s %s",
                name,
                brought,
                meant or ".",
                "The run does not end before this policy is trained, too"
                if self._config.simulators.bring_all
                else "The run does not wait for it",
            )

    @property
    def awaited(self) -> list[str]:
        """The policies whose behaviours are still to come before the run may end."""
        return self._missing() if self._config.simulators.bring_all else []

    def _missing(self) -> list[str]:
        return [name for name in self._config.named_behaviours if name not in self._by_name]

    def are_all_complete(self) -> bool:
        """Returns whether every policy that is waited for has its total steps.

        Idle guests do not count, if anything was finished. Logs once which behaviours are missing,
        if the others are complete, and what is not waited for.
        """
        unfinished = {name for name, each in self._by_name.items() if not each.is_complete}
        if not unfinished <= self._idle_guests or len(unfinished) == len(self._by_name):
            return False
        missing = self.awaited
        if missing and missing != self._asked_for:
            self._asked_for = missing
            logger.warning(
                "every policy that simulators brought is done; '%s' is not there yet: the run "
                "waits for a simulator with that behaviour",
                ", ".join(missing),
            )
        if unfinished and not missing:
            _say_who_is_left_out(
                [self._by_name[name] for name in sorted(unfinished)],
                idle_s=self._config.simulators.idle_s,
            )
        return not missing

    def have_idle_guests(self) -> bool:
        """Returns whether policies under "*" get no steps any more: see `simulators.idle_s`.

        To be called again and again; `are_all_complete` goes by what was seen last.
        """
        idle = self._idle_policies.look(
            {
                name: Standing(trainer.progress.env_steps, trainer.is_learning)
                for name, trainer in self._by_name.items()
            }
        )
        self._idle_guests = idle - set(self._config.named_behaviours)
        return bool(self._idle_guests)

    def interrupt(self) -> None:
        """Let all running updates give up."""
        for trainer in self._by_name.values():
            trainer.interrupt()

    def summaries(self) -> Mapping[str, PolicySummary]:
        """{behaviour: how far its policy came}."""
        return {name: trainer.summary() for name, trainer in self._by_name.items()}

    def state(self) -> State:
        """Everything that decides how the policies go on; not while an update runs."""
        return {
            str(index): {
                "spec": self._policies[name].spec.state(),
                "trainer": trainer.state(),
            }
            for index, (name, trainer) in enumerate(self._by_name.items())
        }

    def load_state(self, state: State) -> None:
        """Let the trainers go on where `state` was taken; they were made for its behaviours."""
        for spec, trainer_state in policy_states(state):
            if self._policies[spec.name].spec != spec:
                raise ValueError(f"the policy and the participants disagree over '{spec.name}'")
            self._by_name[spec.name].load_state(trainer_state)


def _say_who_is_left_out(unfinished: Iterable[Trainer[Any]], *, idle_s: float) -> None:
    for trainer in unfinished:
        logger.warning(
            "policy '%s' has %s of %s env steps and got none for %g s (simulators.idle_s), and "
            "all others are done: the run ends without waiting for it",
            trainer.behaviour,
            f"{trainer.progress.env_steps:,}",
            f"{trainer.total_steps:,}",
            idle_s,
        )
