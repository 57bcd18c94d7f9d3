"""The frame of every off-policy algorithm: a replay, and so many gradient steps for each env step.

An update adds what was collected to the replay, brings the statistics of observations up to date
and takes the gradient steps that are due. What such a step does is the `Method`'s: see `soft_q`.

With several ranks each has a replay of its own steps, and samples its share of every batch;
gradients are the mean over all. How many gradient steps are due is counted over the steps of all.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from entrain import metrics, replay_metrics
from entrain.algorithms.algorithm import KEPT, Metrics, UpdateCancelled, never
from entrain.algorithms.divergence import explain_steps, unlearnable
from entrain.algorithms.pace import Pace
from entrain.algorithms.replay import Replay
from entrain.algorithms.telemetry import non_finite
from entrain.config.off_policy import OffPolicyConfig
from entrain.config.policy import PolicyConfig, algorithm_options
from entrain.errors import CheckpointError, TrainingDivergedError, UnlearnableRolloutError
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.replay_size import replay_capacity
from entrain.policy.weights import PolicyWeights
from entrain.quoting import shortened
from entrain.ranks import ALONE, Ranks
from entrain.state import State
from entrain.transitions import ReplayBatch, Transitions

logger = logging.getLogger(__name__)


class Method(Protocol):
    """One off-policy algorithm: its networks and its gradient step."""

    @property
    def policy(self) -> ActorNetwork:
        """The policy that acts and is exported, as of the newest update."""
        ...

    @property
    def weights(self) -> PolicyWeights:
        """Of `policy`."""
        ...

    @property
    def device(self) -> torch.device:
        """Of the networks."""
        ...

    @property
    def is_finite(self) -> bool:
        """Whether every weight that is learned is a finite number."""
        ...

    def agree(self) -> None:
        """Take the weights of the first rank."""
        ...

    def observe(self, observation: Mapping[str, Tensor]) -> None:
        """Add {name: [N, *shape]}, on a CPU, to the statistics of observations."""
        ...

    def begin(self, progress: float) -> None:
        """The gradient steps that come are those of the update at `progress` in [0, 1]."""
        ...

    def step(self, batch: ReplayBatch) -> Mapping[str, Tensor]:
        """Take a gradient step; returns {name of a metric: []}, not always the same ones.

        The batch is on `device`. It has no steps if this rank has none: it takes part in the step
        of the others then.
        """
        ...

    def finish(self) -> Metrics:
        """The gradient steps of this update are over: bring `policy` up to date."""
        ...

    def snapshot(self) -> Any:
        """A copy of everything that an update changes, for `restore`."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot, bit for bit."""
        ...

    def change(self, options: PolicyConfig) -> None:
        """See `Algorithm.change`."""
        ...

    def load_moments(self, state: State) -> None:
        """See `Algorithm.load_moments`."""
        ...

    def take_over(self, learned: State) -> str:
        """See `AlgorithmOfRun.take_over`.

        Returns what was taken over, in words; "", and nothing was changed, if it does not fit.
        """
        ...

    def state(self) -> State:
        """All that it learned; the weights and buffers of `policy` as "policy"."""
        ...

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        ...


class OffPolicy:
    """An off-policy algorithm. Owns the replay; its method owns the weights."""

    def __init__(
        self, method: Method, options: PolicyConfig, *, seed: int, ranks: Ranks = ALONE
    ) -> None:
        """Begin with an empty replay.

        Args:
            method: learns from batches of it.
            options: of the policy.
            seed: of what is sampled.
            ranks: that learn this policy together.
        """
        self._method = method
        self._options = options
        self._config = algorithm_options(options, OffPolicyConfig)
        self._ranks = ranks
        self._replay = Replay(method.policy.inputs, capacity=replay_capacity(options), seed=seed)
        self._pace = Pace(self._config)
        self._version = 0
        self.reward_ratio = 1.0
        """See `Algorithm.reward_ratio`."""
        self._is_agreed = False
        _say_how_often(method.policy.spec.name, options, self._config)

    def __repr__(self) -> str:
        return f"<OffPolicy {self._config.kind}: {self._version} updates, {self._replay}>"

    @property
    def version(self) -> int:
        """Updates done."""
        return self._version

    @property
    def weights(self) -> PolicyWeights:
        """See `Algorithm.weights`."""
        return self._method.weights

    @property
    def method(self) -> Method:
        """The algorithm that learns from the replay."""
        return self._method

    @property
    def replay(self) -> Replay:
        """Not to be changed."""
        return self._replay

    def update(
        self, transitions: Transitions, /, *, progress: float, cancelled: Callable[[], bool] = never
    ) -> Metrics:
        """Append the transitions, then take the gradient steps that are due.

        See `Algorithm.update` for the arguments, and for the outcome if it does not succeed.
        """
        if not self._is_agreed:
            self._method.agree()
            self._is_agreed = True
        progress = self._ranks.least(progress)
        self._require_learnable(transitions)
        with self._all_or_nothing(transitions):
            self._method.observe(transitions.observation)
            self._method.begin(progress)
            learned = self._learn(transitions, cancelled)
        self._version += 1
        return {**learned, **self._method.finish(), **self._of_replay(), **self._of(transitions)}

    def _of_replay(self) -> Metrics:
        """How many steps it has, and how old they are."""
        replay = self._replay
        count = self._ranks.total(replay.num_steps)
        age = torch.tensor([self._version - replay.mean_version])
        mean_age = self._ranks.mean(age, weight=replay.num_steps).item() if count else 0.0
        return {
            replay_metrics.REPLAY_STEPS.name: float(count),
            replay_metrics.REPLAY_AGE.name: mean_age,
        }

    def _of(self, transitions: Transitions) -> Metrics:
        """The share of late steps, where there are any or a deadline says that there may be."""
        num_late = self._ranks.total(int(transitions.late.sum()))
        if not (num_late or self._method.policy.spec.deadline_ms):
            return {}
        num_steps = self._ranks.total(transitions.num_steps)
        return {metrics.LATE_STEPS.name: num_late / max(1, num_steps)}

    def _learn(self, transitions: Transitions, cancelled: Callable[[], bool]) -> Metrics:
        """The gradient steps that are due after these transitions."""
        can_learn = self._ranks.total(self._replay.num_steps) > 0
        due = self._pace.due(self._ranks.total(transitions.num_steps), can_learn=can_learn)
        config, rows = self._config, self._share_of_batch()
        sums: dict[str, Tensor] = {}
        counts: Counter[str] = Counter()
        num_rows = 0
        for _ in range(due):
            if self._ranks.any_so_far(cancelled()):
                raise UpdateCancelled
            batch = self._replay.sample(rows, n_step=config.n_step, discount=self._options.discount)
            num_rows += batch.num_steps
            for name, value in self._method.step(batch.to(self._method.device)).items():
                sums[name] = sums[name] + value if name in sums else value.clone()
                counts[name] += 1
        means = self._means(sums, counts, num_rows)
        self._require_finite(means)
        return {
            **means,
            replay_metrics.GRADIENT_STEPS.name: float(due),
            replay_metrics.STEPS_RATIO.name: self._pace.ratio,
        }

    def _share_of_batch(self) -> int:
        return math.ceil(self._config.batch_size / self._ranks.total(1))

    def _means(
        self, sums: Mapping[str, Tensor], counts: Mapping[str, int], num_rows: int
    ) -> Metrics:
        """Over the gradient steps that found each, and over the ranks."""
        if not sums:
            return {}
        values = torch.stack([sums[name].float().cpu() / counts[name] for name in sums])
        return dict(zip(sums, self._ranks.mean(values, weight=num_rows).tolist(), strict=True))

    def _require_learnable(self, transitions: Transitions) -> None:
        """Raise UnlearnableRolloutError if no setting could let anything be learned from them."""
        why = unlearnable(transitions, self._options)
        if self._ranks.any(bool(why)):
            why = why or "cannot be learned from: another rank's steps have too large numbers"
            raise UnlearnableRolloutError(
                f"{self._update_words} {why}. A resumed run leaves these "
                f"{transitions.num_steps:,} env steps out"
            )

    def _require_finite(self, means: Metrics) -> None:
        found = non_finite(means)
        if self._ranks.any(bool(found) or not self._method.is_finite):
            raise TrainingDivergedError(
                f"{self._update_words} diverged: {found or 'weights are not finite'}. "
                f"{explain_steps(self._config)}"
            )

    @property
    def _update_words(self) -> str:
        return f"update {self._version + 1} of policy '{self._method.policy.spec.name}'"

    @contextmanager
    def _all_or_nothing(self, transitions: Transitions) -> Iterator[None]:
        """Append the transitions; take back all that has changed if the block ends early."""
        snapshot, pace = self._method.snapshot(), self._pace.state()
        generator = self._replay.generator.get_state()
        appended = self._replay.append(transitions)
        try:
            yield
        except BaseException:
            self._method.restore(snapshot)
            self._pace.load_state(pace)
            self._replay.generator.set_state(generator)
            self._replay.undo(appended)
            raise

    def leave_out(self, transitions: Transitions, /) -> None:  # noqa: ARG002 - see Algorithm
        """See `Algorithm.leave_out`."""
        self._replay.forget_streams()

    def change(self, options: PolicyConfig) -> None:
        """See `Algorithm.change`."""
        self._options, self._config = options, algorithm_options(options, OffPolicyConfig)
        self._pace.change(self._config)
        self._method.change(options)

    def load_moments(self, state: State) -> None:
        """See `Algorithm.load_moments`."""
        self._method.load_moments(state)

    def take_over(self, learned: State) -> None:
        """See `AlgorithmOfRun.take_over`."""
        name = shortened(self._method.policy.spec.name)
        if words := self._method.take_over(learned):
            logger.info("policy '%s': %s", name, words)
        else:
            logger.warning(
                "policy '%s': its %s begin anew: those that were learned are of networks of "
                "another form",
                name,
                self._config.beside,
            )

    def kept_state(self) -> Callable[[], State]:
        """See `Algorithm.kept_state`: of the replay, what the update overwrites is copied."""
        state = self.state()
        return lambda: state

    def state(self) -> State:
        """The method's state, the whole replay, the version and the pace."""
        return {
            **self._method.state(),
            KEPT: self._replay.state(),
            "version": self._version,
            "pace": self._pace.state(),
            "reward_scale": self._options.reward_scale,
        }

    def load_state(self, state: State) -> None:
        """Continue exactly from `state`; CheckpointError if it is of another policy."""
        for name in ("version", KEPT, "pace", "policy"):
            if name not in state:
                raise CheckpointError(
                    f"the checkpoint's algorithm has no '{name}' (it has: "
                    f"{', '.join(sorted(state))}); it is of another algorithm.kind than "
                    f"{self._config.kind}, or of another version of entrain"
                )
        self._method.load_state(state)
        self._replay.load_state(state[KEPT])
        self._rescale(float(state.get("reward_scale", self._options.reward_scale)))
        self._pace.load_state(state["pace"])
        self._version = int(state["version"])

    def _rescale(self, before: float) -> None:
        """The replay's rewards were multiplied by `before`: bring them to the present scale.

        What was collected and waits for the next update follows by `reward_ratio`.
        """
        now = self._options.reward_scale
        self.reward_ratio = 1.0
        if now == before:
            return
        if not before:
            raise CheckpointError(
                f"the rewards in the checkpoint's replay were multiplied by 0, and cannot be by "
                f"{now:g} now; resume with reward_scale 0, or begin another run"
            )
        self.reward_ratio = now / before
        self._replay.scale_rewards(self.reward_ratio)
        logger.info(
            "policy '%s': the rewards in its replay are multiplied by %g instead of %g, too; its "
            "values follow from now on",
            shortened(self._method.policy.spec.name),
            now,
            before,
        )


def _say_how_often(behaviour: str, options: PolicyConfig, config: OffPolicyConfig) -> None:
    """Log what is due for each env step, and who waits for it."""
    goes_on = options.policy_lag > 0
    logger.info(
        "policy '%s' learns by %s: %g gradient step%s for each env step, in updates of %s env "
        "steps after the first %s; simulators %s (policy_lag %d)",
        shortened(behaviour),
        config.kind,
        config.updates_per_step,
        "" if config.updates_per_step == 1 else "s",
        f"{options.rollout_steps:,}",
        f"{config.learning_starts:,}",
        "go on during an update" if goes_on else "wait for each update",
        options.policy_lag,
    )
