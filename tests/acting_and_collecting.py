"""An actor and a collector, driven one call at a time, as the policy's loop drives them."""

from typing import Any

from entrain.experience import Rollout
from entrain.inference.policy import TorchPolicy, make_inference_policy
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.weights import PolicyWeights
from entrain.requests import SlotTimesteps
from entrain.rollout.actor import Actor
from entrain.rollout.collector import Collector
from entrain.rollout.episodes import EpisodeLog
from entrain.rollout.evaluation import Evaluation, Sampled
from entrain.rollout.ledger import Ledger
from entrain.rollout.rollout_collector import RolloutCollector
from entrain.state import State
from entrain_envs.timestep import Int64Array


class ActingAndCollecting:
    """Drives an actor and a collector as the policy's loop does, one call at a time."""

    def __init__(
        self,
        policy: Any,
        *,
        rollout_steps: int = 4,
        total_steps: int = 10**9,
        seed: int = 7,
        discount: float = 0.5,
        normalize_rewards: bool = False,
        reward_clip: float = 10.0,
        reward_scale: float = 1.0,
        rollout_type: type[Rollout] = Rollout,
        deterministic: bool = False,
    ) -> None:
        is_real = isinstance(policy, ActorCritic)
        acting = make_inference_policy(policy) if is_real else TorchPolicy(policy)
        self.policy = policy
        self.actor = Actor(acting, seed=seed, deterministic=deterministic)
        self.collected = RolloutCollector(
            policy,
            rollout_steps=rollout_steps,
            total_steps=total_steps,
            discount=discount,
            normalize_rewards=normalize_rewards,
            reward_clip=reward_clip,
            reward_scale=reward_scale,
            rollout_type=rollout_type,
        )
        self.collector: Collector[Rollout] = self.collected
        self._evaluation: Evaluation | None = None
        self._unrecorded: tuple[Evaluation, Sampled] | None = None

    def observe(self, batch: SlotTimesteps) -> Rollout | None:
        """Evaluate, and let the collector receive what became of earlier actions."""
        self.record()
        if self.collector.is_complete:
            self.collector = self.collector.ended()
        self._evaluation = self.actor.evaluate(batch)
        return self.collector.receive(self._evaluation)

    def act(self) -> Sampled:
        """Answer the batch that was observed last."""
        assert self._evaluation is not None
        evaluation = self.actor.refreshed(self._evaluation)
        actions = self.actor.act(evaluation)
        self._evaluation, self._unrecorded = None, (evaluation, actions)
        return actions

    def record(self) -> None:
        """What is done once actions are on their way; or before anything that needs it."""
        if self._unrecorded is not None:
            evaluation, actions = self._unrecorded
            self._unrecorded = None
            self.collector.record(evaluation, actions)
            self.actor.look_ahead()

    def release(self, slot: Int64Array) -> None:
        self.record()
        self.actor.release(slot)
        self.collector.release(slot)

    def publish(self, version: int) -> None:
        """Act by what the policy has learned."""
        self.actor.policy.publish(PolicyWeights.of(self.policy), version)

    def end(self) -> None:
        """Collect no more."""
        self.record()
        self.collector = self.collector.ended()

    def begin_again(self) -> None:
        """Collect again, as a run does that is resumed with more total steps."""
        self.record()
        self.actor.release_all()
        self.collector = self.collected

    @property
    def ledger(self) -> Ledger:
        self.record()
        return self.collected.ledger

    @property
    def episodes(self) -> EpisodeLog:
        self.record()
        return self.collected.episodes

    @property
    def env_steps(self) -> int:
        return self.collected.env_steps

    def state(self) -> State:
        self.record()
        return {
            "actor": self.actor.state(),
            "collector": self.collected.state(),
            "version": self.actor.policy.version,
            "unanswered": None if self._evaluation is None else self._evaluation.batch.state(),
        }

    def load_state(self, state: State) -> None:
        """The policy must have the weights of then."""
        self._unrecorded = None
        self.actor.load_state(state["actor"])
        self.collected.load_state(state["collector"])
        self.publish(state["version"])
        unanswered = state["unanswered"]
        self._evaluation = (
            None
            if unanswered is None
            else self.actor.evaluate(SlotTimesteps.from_state(unanswered))
        )
