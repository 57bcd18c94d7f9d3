"""The trainers of one run: one for each behaviour, made when a simulator first brings it."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from entrain.algorithms.diagnostics import Diagnostics
from entrain.app.build import (
    device,
    make_actor,
    make_algorithm,
    make_collector,
    policy_options,
    policy_states,
    warn_of_too_few_steps,
    within_memory,
)
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, describe
from entrain.policy.actor_critic import ActorCritic
from entrain.run.summary import PolicySummary
from entrain.state import State
from entrain.trainer import Recorder, Trainer
from entrain_envs.spec import BehaviourSpec

logger = logging.getLogger(__name__)


class Trainers:
    """Makes trainers and holds them in the order in which they came. Owned by the event loop."""

    def __init__(self, config: RunConfig, *, learners: Executor, recorder: Recorder) -> None:
        """Begin without any.

        Args:
            config: of the run.
            learners: run the updates of all trainers.
            recorder: is told of every update.
        """
        self._config = config
        self._learners = learners
        self._recorder = recorder
        self._by_name: dict[str, Trainer] = {}
        self._policies: dict[str, ActorCritic] = {}
        self._asked_for: list[str] = []

    def __repr__(self) -> str:
        return f"<Trainers of {', '.join(self._by_name) or 'no behaviour'}>"

    @property
    def by_name(self) -> Mapping[str, Trainer]:
        """{behaviour: its trainer}."""
        return self._by_name

    @property
    def policies(self) -> Mapping[str, ActorCritic]:
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

    def make_all(self, specs: Sequence[BehaviourSpec]) -> None:
        """Make a trainer for each of these new behaviours, or, if one cannot be made, for none.

        Called before the simulator with these behaviours is welcomed: only that simulator is
        refused if its behaviours do not fit.

        Raises:
            ConfigError: names the behaviour and says why it does not fit.
        """
        for index, spec in enumerate(specs):
            try:
                with within_memory(policy_options(self._config, spec.name)):
                    self.make(spec)
            except Exception as error:
                # A user's own network may raise anything.
                for made in specs[:index]:
                    del self._by_name[made.name], self._policies[made.name]
                raise ConfigError(f"behaviour '{spec.name}': {describe(error)}") from error

    def are_all_complete(self) -> bool:
        """Returns whether every policy that the configuration names has its total steps.

        Logs once which behaviours are missing, if the others are complete.
        """
        if not all(trainer.is_complete for trainer in self._by_name.values()):
            return False
        missing = [name for name in self._config.named_behaviours if name not in self._by_name]
        if missing and missing != self._asked_for:
            self._asked_for = missing
            logger.warning(
                "every policy that simulators brought is done; '%s' is not there yet: the run "
                "waits for a simulator with that behaviour",
                ", ".join(missing),
            )
        return not missing

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

    def make(self, spec: BehaviourSpec) -> Trainer:
        config = policy_options(self._config, spec.name)
        warn_of_too_few_steps(config, spec.name)
        seed = self._config.seed + 1_000_003 * len(self._by_name)
        policy = ActorCritic(spec, config, seed=seed).to(device(self._config))
        trainer = Trainer(
            spec.name,
            actor=make_actor(policy, seed=seed),
            collector=make_collector(policy),
            algorithm=make_algorithm(policy, seed=seed),
            diagnostics=Diagnostics(config, spec.action),
            recorder=self._recorder,
            learners=self._learners,
            total_steps=config.total_steps,
            policy_lag=config.policy_lag,
        )
        self._policies[spec.name] = policy
        self._by_name[spec.name] = trainer
        return trainer
