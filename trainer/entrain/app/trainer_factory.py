"""Makes the trainers of a run's behaviours: at once, or beforehand in a thread.

A trainer that cannot be made changes nothing; only the simulator that brought it is refused.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from entrain.algorithms.diagnostics import Diagnostics
from entrain.algorithms.greatest_entropy import check_target
from entrain.app.apart import Apart
from entrain.app.build import (
    device,
    make_actor,
    policy_options,
    seed_of,
    warn_of_too_few_steps,
    within_memory,
)
from entrain.app.deadlines import warn_of_deadline
from entrain.app.initial_weights import Beginning, begin
from entrain.app.learning_parts import AnyAlgorithm, make_algorithm, make_collector
from entrain.app.observed import log_observed
from entrain.config.policy import PolicyConfig
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, describe
from entrain.inference.policy import InferencePolicy
from entrain.policy.actor_critic import ActorNetwork, make_policy
from entrain.policy.replay_size import Replays, check_replay, replays_of
from entrain.policy.sizes import check_size
from entrain.trainer import Recorder, Trainer
from entrain_envs.spec import BehaviourSpec

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Made:
    """A trainer that was made and does not run yet."""

    trainer: Trainer[Any]
    policy: ActorNetwork
    algorithm: AnyAlgorithm
    options: PolicyConfig
    acting: InferencePolicy
    """The weights by which the trainer's agents act."""


class TrainerFactory:
    """Makes trainers with the options of now. Owned by the event loop."""

    def __init__(
        self,
        config: RunConfig,
        *,
        learners: Executor,
        recorder: Recorder,
        begun: Set[str],
        before_update: Callable[[str, int], None],
        goes_on: Callable[[], bool],
        together: Apart,
    ) -> None:
        """Have made none.

        Args:
            config: of the run.
            learners: run the updates of all trainers.
            recorder: is told of every update.
            begun: behaviours of whose policies a checkpoint has the weights.
            before_update: told behaviour and number of an update right before it begins.
            goes_on: whether the run does, although one policy is complete.
            together: with which other ranks they learn.
        """
        self._config = config
        self._learners = learners
        self._recorder = recorder
        self._begun = begun
        self._before_update = before_update
        self._goes_on = goes_on
        self._together = together
        self._prepared: dict[tuple[BehaviourSpec, int], Made | ConfigError] = {}

    def __repr__(self) -> str:
        return f"<TrainerFactory: {len(self._prepared)} prepared>"

    def configure(self, config: RunConfig) -> None:
        """From now on, make trainers with these options."""
        self._config = config

    @asynccontextmanager
    async def prepared(
        self, specs: Sequence[BehaviourSpec], *, before: Mapping[str, ActorNetwork]
    ) -> AsyncIterator[None]:
        """Within the block `make_all` takes no time; the trainers were made in a thread.

        What a block did not take is thrown away. There is one block at a time.

        Args:
            specs: of the behaviours that may be new.
            before: {behaviour: its policy} of those that are there.
        """
        try:
            others = _replays(before)
            for number, spec in enumerate(specs, start=len(before)):
                made = await self._made_beside(spec, number, others)
                self._prepared[spec, number] = made
                if isinstance(made, ConfigError):
                    break
                others += replays_of([(spec, made.options)])
            yield
        finally:
            self._prepared.clear()

    async def _made_beside(
        self, spec: BehaviourSpec, number: int, others: Replays
    ) -> Made | ConfigError:
        # First, so that other ranks never hear of a behaviour that does not fit.
        misfit = await in_a_thread(partial(self._misfit, spec, others))
        if misfit is not None:
            return misfit
        try:
            number = await self._together.number_of(spec, number)
        except ConfigError as error:
            return ConfigError(f"behaviour '{spec.name}': {error}")
        return await in_a_thread(partial(self._try_to_make, spec, number))

    def make_all(
        self, specs: Sequence[BehaviourSpec], *, before: Mapping[str, ActorNetwork]
    ) -> list[Made]:
        """Returns a trainer for each of these new behaviours.

        Args:
            specs: of the behaviours.
            before: {behaviour: its policy} of those that are there.

        Raises:
            ConfigError: names the behaviour that has none, and says why it does not fit.
        """
        all_made: list[Made] = []
        others = _replays(before)
        for number, spec in enumerate(specs, start=len(before)):
            made = self._prepared.get((spec, number)) or self._make_now(spec, number, others)
            if isinstance(made, Made) and made.options != self._config.policy_for(spec.name):
                # Its options have changed meanwhile.
                made = self._make_now(spec, number, others)
            if isinstance(made, ConfigError):
                raise made
            all_made.append(made)
            others += replays_of([(spec, made.options)])
        return all_made

    def _make_now(self, spec: BehaviourSpec, number: int, others: Replays) -> Made | ConfigError:
        number = self._together.known_number(spec.name, number)
        return self._misfit(spec, others) or self._try_to_make(spec, number)

    def _misfit(self, spec: BehaviourSpec, others: Replays) -> ConfigError | None:
        """Why there can be no policy for a behaviour, as far as arithmetic tells; None if it fits.

        Args:
            spec: of the behaviour.
            others: the replays of all other policies.
        """
        server, checkpoints = self._config.server, self._config.checkpoints
        num_ranks = self._together.place.size
        try:
            options = policy_options(self._config, spec.name)
            check_size(spec, options, server)
            check_replay(spec, options, server, checkpoints, others=others, num_ranks=num_ranks)
            check_target(spec.action, options)
        except Exception as error:
            # What a stranger says may be anything.
            return _refusal(spec, error)
        return None

    def _try_to_make(self, spec: BehaviourSpec, number: int) -> Made | ConfigError:
        """A trainer, or why there can be none. Changes nothing, so that any thread may do it.

        Args:
            spec: of the behaviour, for which there is no misfit.
            number: how many trainers there were before.
        """
        try:
            with within_memory(policy_options(self._config, spec.name)):
                return self._make(spec, number)
        except Exception as error:
            # A user's own network may raise anything.
            return _refusal(spec, error)

    def _make(self, spec: BehaviourSpec, number: int) -> Made:
        config = policy_options(self._config, spec.name)
        warn_of_too_few_steps(config, spec.name)
        warn_of_deadline(spec, config, self._config.server)
        seed = seed_of(self._config, number)
        policy = make_policy(spec, config, seed=seed)
        is_new = spec.name not in self._begun
        is_named = spec.name in self._config.named_behaviours
        beginning = begin(policy, is_named=is_named) if is_new else Beginning()
        policy = policy.to(device(self._config))
        # Games of ML-Agents say what is an image; their settings always name an encoder.
        log_observed(policy, is_certain=not self._config.is_native)
        together = self._together
        algorithm = make_algorithm(
            policy, seed=together.seed(seed), ranks=together.ranks_of(spec.name)
        )
        collector = make_collector(policy, num_ranks=together.place.size)
        beginning.pass_on(algorithm, collector)
        actor = make_actor(policy, seed=together.seed(seed))
        trainer = together.make_trainer(
            spec.name,
            actor=actor,
            collector=collector,
            algorithm=algorithm,
            diagnostics=Diagnostics(config, spec.action),
            recorder=self._recorder,
            learners=self._learners,
            total_steps=config.total_steps,
            policy_lag=config.policy_lag,
            goes_on=self._goes_on,
            before_update=partial(self._before_update, spec.name),
        )
        return Made(
            trainer=trainer,
            policy=policy,
            algorithm=algorithm,
            options=config,
            acting=actor.policy,
        )


def _replays(policies: Mapping[str, ActorNetwork]) -> Replays:
    return replays_of((policy.spec, policy.config) for policy in policies.values())


def _refusal(spec: BehaviourSpec, error: Exception) -> ConfigError:
    refusal = ConfigError(f"behaviour '{spec.name}': {describe(error)}")
    refusal.__cause__ = error
    return refusal


async def in_a_thread(work: Callable[[], T]) -> T:
    """Do it in a thread of its own, which ends with it.

    If the caller is cancelled, it waits for the thread all the same: else simulators that come and
    go could have any number of threads at work.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="networks")
    doing = asyncio.get_running_loop().run_in_executor(thread, work)
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise
    finally:
        thread.shutdown(wait=False)
