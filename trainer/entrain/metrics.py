"""Every metric that a run writes: its name, its unit, what it means, what to do when it is odd.

What shows or judges a metric reads it from here: displays, pictures, report, diagnostics and
docs/metrics.md. A name that is not declared here cannot be written. Nothing here knows of networks,
files or simulators.
"""

from collections.abc import Iterable
from functools import lru_cache

from entrain.evaluation_metrics import EVALUATION_METRICS
from entrain.metric import Metric
from entrain.replay_metrics import REPLAY_METRICS
from entrain.round_metrics import ROUND_METRICS

STATISTICS = "statistics/"
"""Begins the names of what simulators report by themselves, which nobody can declare."""

EPISODES = Metric(
    name="rollout/episodes",
    unit="episodes",
    shown=",.0f",
    meaning="Episodes of all agents that ended since the update before.",
    remedy="Zero is normal if episodes are longer than a rollout. If it stays zero, nothing ends "
    "episodes: the simulator should report TERMINATED or TRUNCATED.",
)
_WHEN_ENDED = "if an episode ended since the update before"
EPISODE_RETURN_MEAN = Metric(
    name="rollout/episode_return_mean",
    title="Episode return, mean and standard deviation",
    better="more is better",
    shown=",.1f",
    meaning="Sum of the rewards of an episode, as the simulator sent them, mean over the episodes "
    "that ended since the update before: neither discounted nor scaled. Training is meant to "
    "raise it.",
    remedy="If it never rises, look at `policy/entropy` (does the policy still try different "
    "actions?), `policy/kl` (do updates change it?) and `value/explained_variance` (does the "
    "critic predict returns?), in this order. If it rises and then falls for good, lower "
    "`learning_rate` or set `target_kl`. If it jumps about, raise `rollout_steps`: with more "
    "episodes an update, means and updates are steadier.",
    when=_WHEN_ENDED,
)
EPISODE_RETURN_LAST = Metric(
    name="rollout/episode_return_last_100",
    better="more is better",
    shown=",.1f",
    meaning="Mean return of the last 100 episodes that had ended before the update, or of all if "
    "there were fewer. It is steadier than the mean of one update, and is what the terminal shows. "
    "With several ranks it is the mean of theirs.",
    remedy="As for `rollout/episode_return_mean`. Where an update sees hundreds of episodes, it is "
    "only the last of them.",
    when="once an episode has ended",
)
EPISODE_RETURN_STD = Metric(
    name="rollout/episode_return_std",
    shown=",.1f",
    meaning="Standard deviation of the return over the episodes that ended since the update "
    "before.",
    remedy="It falls as a policy becomes reliable. If it stays large beside the mean, some starts "
    "are much harder than others, or a few episodes go wrong: compare the minimum.",
    when=_WHEN_ENDED,
)
EPISODE_RETURN_MIN = Metric(
    name="rollout/episode_return_min",
    better="more is better",
    shown=",.1f",
    meaning="Return of the worst episode that ended since the update before.",
    remedy="If the mean is good and this is not, the policy still fails now and then; watch such "
    "an episode in the simulator.",
    when=_WHEN_ENDED,
)
EPISODE_RETURN_MAX = Metric(
    name="rollout/episode_return_max",
    better="more is better",
    shown=",.1f",
    meaning="Return of the best episode that ended since the update before.",
    remedy="If this is good and the mean is not, the policy has good episodes only by chance: "
    "give it more steps, or raise `rollout_steps`.",
    when=_WHEN_ENDED,
)
EPISODE_LENGTH_MEAN = Metric(
    name="rollout/episode_length_mean",
    title="Episode length",
    unit="steps",
    shown=",.1f",
    meaning="Mean number of steps in the episodes that ended since the update before.",
    remedy="Whether long is good depends on the task: an agent that survives lives longer, one "
    "that reaches a goal is done sooner. A length that stands still at one number is usually the "
    "simulator's time limit: make sure that it reports TRUNCATED there, not TERMINATED.",
    when=_WHEN_ENDED,
)

REWARD_PER_STEP = Metric(
    name="rollout/reward_per_step",
    better="more is better",
    shown=".4g",
    meaning="Mean reward of a step, as the simulator sent it, over the steps of the rollout.",
    remedy="Where episodes never end, this is what training is meant to raise. Where they end, "
    "look at `rollout/episode_return_mean`: more a step may mean that episodes are shorter.",
)

LATE_STEPS = Metric(
    name="rollout/late_steps",
    title="Late steps",
    unit="0 to 1",
    better="less is better",
    shown=".3f",
    meaning="Share of the steps of the rollout whose action came after the simulator's deadline, "
    "so that its fallback acted. They count in returns and teach the critic, but not the policy.",
    remedy="Set `policy_lag` to 1, so that answers do not wait for updates. If many are late all "
    "the same, see docs/real-time.md.",
    when="if a behaviour has a deadline",
)

LESSONS_COMPLETED = Metric(
    name="environment/lessons_completed/NAME",
    unit="lessons",
    shown=".0f",
    meaning="How many lessons of the environment parameter NAME are completed: its curriculum is "
    "in the lesson after these.",
    remedy="If it stays where it is, the threshold of that lesson is not reached: compare it with "
    "`rollout/episode_return_mean`.",
    when="for each parameter with a curriculum",
)

_WHEN_PPO = "if `algorithm.kind` is PPO"
_WHEN_LEARNED = "once gradient steps are taken"
LOSS_POLICY = Metric(
    name="loss/policy",
    shown=".4f",
    meaning="PPO's clipped objective as it is minimised, mean over all steps and epochs of the "
    "update.",
    remedy="It stays near zero and says little by itself, because advantages are centred on zero. "
    "Look at `policy/kl` and `policy/clip_fraction` instead.",
    when=_WHEN_PPO,
)
LOSS_VALUE = Metric(
    name="loss/value",
    title="Value loss",
    better="less is better",
    meaning="The critic's squared error, mean over all steps and epochs of the update, in squares "
    "of the returns' running standard deviation. Without `normalize_values`, in squares of what "
    "rewards are measured in.",
    remedy="1 is no better than the mean return, 0 is perfect. It jumps where returns change their "
    "size, and falls again. If it grows without end, lower `learning_rate`.",
    when=_WHEN_PPO,
)
LOSS_ENTROPY = Metric(
    name="loss/entropy",
    unit="nats",
    shown=".3f",
    meaning="Minus the entropy of the policy; with `entropy.prior` and a coefficient, the "
    "policy's divergence from that prior.",
    remedy="See `policy/entropy`. With a prior: if it rises without end the policy leaves its "
    "prior; raise `entropy.coefficient`.",
    when=_WHEN_PPO,
)

ENTROPY = Metric(
    name="policy/entropy",
    title="Entropy of the policy",
    unit="nats",
    shown=".2f",
    meaning="How random the policy's actions are, over all action dimensions and branches "
    "together, mean over the steps of the update. Continuous dimensions can make it negative.",
    remedy="It falls slowly in a healthy run. If it drops early and the return does not rise, the "
    "policy has stopped exploring too soon: raise `entropy.coefficient` or lower "
    "`learning_rate`, and begin anew. If it does not fall at all while the return stands still, "
    "lower `entropy.coefficient`. See docs/entropy.md.",
    when=_WHEN_LEARNED,
)
ENTROPY_OF_DIMENSION = Metric(
    name="policy/entropy/N",
    unit="nats",
    shown=".2f",
    meaning="Entropy of continuous action dimension N after the update.",
    remedy="It follows from sigma; see `policy/sigma/N`.",
    when="for continuous actions, unless `action.distribution` is `squashed_gaussian`",
)
SIGMA = Metric(
    name="policy/sigma/N",
    title="Sigma per action dimension",
    shown=".3f",
    meaning="Standard deviation of continuous action dimension N after the update; 1 is half of "
    "the range between its bounds, where it has bounds. Before tanh, if squashed.",
    remedy="It falls as the policy becomes sure of its actions. If it grows beyond 2, actions are "
    "mostly noise: lower `entropy.coefficient` or `action.max_log_sigma_sq`, or set "
    "`action.distribution: squashed_gaussian`. If it is nearly zero early, raise "
    "`action.min_log_sigma_sq` or `entropy.coefficient`.",
    when="for continuous actions",
)
CLIPPED_ACTIONS = Metric(
    name="policy/clipped_actions",
    unit="0 to 1",
    shown=".2f",
    meaning="Share of the sampled continuous numbers that a bound cut; if squashed, that lie "
    "within a hundredth of a bound.",
    remedy="0.32 is what sigma 1 gives at the start (0.01 if squashed). Far above that, different "
    "actions have the same effect, so nothing is learned from the difference. Unless the task "
    "wants full force, set `action.distribution: squashed_gaussian`, or lower "
    "`action.initial_log_sigma_sq`.",
    when="for continuous actions",
)
KL = Metric(
    name="policy/kl",
    title="KL divergence per update",
    unit="nats",
    shown=".4f",
    meaning="How far the update moved the policy: KL(old || new), estimated over its last epoch. "
    "Old is the policy that begins the update, also where another one acted (`policy_lag` 1).",
    remedy="0.002 to 0.03 is usual. Far above, the policy changes more than one rollout "
    "justifies, and returns may fall: lower `learning_rate` or `num_epochs`, raise "
    "`minibatch_size`, or set `target_kl`. Near zero, updates change hardly anything: raise "
    "`learning_rate`.",
    when=_WHEN_PPO,
)
LAG_KL = Metric(
    name="policy/lag_kl",
    title="KL divergence of the policy that acted",
    unit="nats",
    shown=".4f",
    meaning="How far the policy moved between acting and learning: KL(the policy that acted || the "
    "policy that began the update), estimated over the rollout.",
    remedy="It is about the `policy/kl` of the update before. Far above 0.1, steps weigh very "
    "differently, and less is learned from them: as for a large `policy/kl`, or set `policy_lag` "
    "to 0.",
    when="if `policy_lag` is 1",
)
CLIP_FRACTION = Metric(
    name="policy/clip_fraction",
    title="Clipped fraction",
    unit="0 to 1",
    shown=".3f",
    meaning="Share of the steps whose probability ratio left `clip_range`, mean over the epochs "
    "of the update; with `surrogate: per_dimension`, of all their dimensions and branches. Such a "
    "step cannot move the policy further away.",
    remedy="0.01 to 0.3 is usual. Far above: as for a large `policy/kl`. Zero: updates are so "
    "small that nothing needs to be clipped; raise `learning_rate` or `num_epochs`.",
    when=_WHEN_PPO,
)
GRADIENT_NORM = Metric(
    name="policy/gradient_norm",
    meaning="Length of the gradient of all weights before it is shortened to `max_grad_norm`, "
    "mean over the gradient steps of the update.",
    remedy="If it is always far above `max_grad_norm`, every step is shortened, and "
    "`learning_rate` alone decides its size. Spikes often come before a divergence: lower "
    "`learning_rate`, and look for observations or rewards that are suddenly huge.",
    when=_WHEN_LEARNED,
)
LEARNING_RATE = Metric(
    name="policy/learning_rate",
    meaning="The learning rate of this update.",
    remedy="It follows `learning_rate` and `learning_rate_schedule`.",
)
CLIP_RANGE = Metric(
    name="policy/clip_range",
    meaning="The clip range of this update.",
    remedy="It follows `clip_range` and `clip_range_schedule`.",
    when=_WHEN_PPO,
)

ENTROPY_COEFFICIENT = Metric(
    name="entropy/coefficient",
    title="Entropy coefficient",
    meaning="Weight of one nat of entropy in this update's objective.",
    remedy="It follows `entropy.coefficient` and `entropy.coefficient_schedule`. With "
    "`entropy.target` it is adjusted after each update, between 1e-8 and 1e8: if it then becomes "
    "huge or tiny, the policy cannot reach the target, so change the target; if it swings, lower "
    "`entropy.target.rate`.",
)
_WHEN_TARGET = "if `entropy.target` is set"
ENTROPY_TARGET = Metric(
    name="entropy/target",
    unit="nats",
    shown=".2f",
    meaning="The entropy that the policy should have in this update.",
    remedy="It is a line over the run, given by the options of `entropy.target`; with masks it "
    "also follows how many choices are allowed.",
    when=_WHEN_TARGET,
)
ENTROPY_DISTANCE = Metric(
    name="entropy/distance",
    unit="nats",
    shown=".2f",
    meaning="Entropy minus target; above zero the policy is more random than it should be.",
    remedy="It should come near zero and stay there. If it stays far below, begin anew with a "
    "larger `entropy.coefficient`: a policy that has stopped exploring seldom starts again. If "
    "it swings, lower `entropy.target.rate`.",
    when=_WHEN_TARGET,
)

VALUE_MEAN = Metric(
    name="value/mean",
    shown=".4g",
    meaning="Mean of what the critic predicted for the rollout, when it acted: the discounted sum "
    "of the rewards to come, in units of the reward.",
    remedy="It follows the return, as far as `discount` looks ahead. If it runs away from what "
    "agents can reach, look at `value/explained_variance`, and lower `learning_rate`.",
    when=_WHEN_PPO,
)
EXPLAINED_VARIANCE = Metric(
    name="value/explained_variance",
    unit="at most 1",
    better="more is better",
    shown=".3f",
    meaning="How well the critic predicted the returns of this rollout, before the update: 1 is "
    "perfectly, 0 is no better than their mean, and below zero is worse than their mean.",
    remedy="It should rise above 0.5 in the first tenth of a run. If it stays near zero, the "
    "return may depend on what is not observed (the time left, or the past: see docs/memory.md), "
    "or rewards are too rare. If it falls late, lower `learning_rate`. It means little where all "
    "returns are nearly equal.",
    when=_WHEN_PPO,
)
CRITIC_SHARE = Metric(
    name="value/gradient_share",
    unit="0 to 1",
    shown=".4f",
    meaning="The critic's share of the gradient of what the last layers of policy and critic read: "
    "of its squared length, in the first minibatch of each epoch. Where they share layers, this is "
    "about its share in those.",
    remedy="Near 1 at the start, when the policy's last layer is small. If it stays above 0.999 "
    "where layers are shared, they learn for the critic alone: set `normalize_values` or "
    "`normalize_rewards`, lower `value_coefficient`, or turn `network.shared` off.",
    when=_WHEN_PPO,
)
ENTROPY_EXPLAINED_VARIANCE = Metric(
    name="value/entropy_explained_variance",
    unit="at most 1",
    better="more is better",
    shown=".3f",
    meaning="How well the entropy critic predicted the entropy to come, in the same measure as "
    "`value/explained_variance`.",
    remedy="As for `value/explained_variance`. It means little while the entropy is the same "
    "everywhere, as at the start.",
    when="if `entropy.objective` is `entropy_critic`",
)

EPOCHS = Metric(
    name="update/epochs",
    unit="epochs",
    shown=",.0f",
    meaning="Passes over the rollout in this update.",
    remedy="It is `num_epochs`, or less where `target_kl` ended the update early. If that is "
    "always after the first epoch, lower `learning_rate`, or raise `target_kl`.",
    when=_WHEN_PPO,
)
MINIBATCHES = Metric(
    name="update/minibatches",
    unit="steps",
    shown=",.0f",
    meaning="Gradient steps of this update: minibatches in all its epochs.",
    remedy="It follows from `rollout_steps`, `minibatch_size` and the epochs.",
    when=_WHEN_PPO,
)

STEPS_PER_SECOND = Metric(
    name="time/env_steps_per_second",
    title="Env steps per second",
    better="more is better",
    shown=",.0f",
    meaning="Steps of all agents divided by the time since the update before, waiting and "
    "learning included.",
    remedy="`time/wait`, `time/learn` and the other shares say where the time goes. If it falls "
    "over a run, simulators become slower: look at their logs.",
)
SECONDS = Metric(
    name="time/seconds",
    unit="seconds",
    shown=",.0f",
    meaning="Wall-clock time of the run; time between a stop and its resume does not count.",
    remedy="It only grows.",
    is_of_all_ranks=False,
)

METRICS = (
    *(each for each in list(vars().values()) if isinstance(each, Metric)),
    *REPLAY_METRICS,
    *ROUND_METRICS,
    *EVALUATION_METRICS,
)
"""All that are declared above, in `round_metrics`, `replay_metrics` and `evaluation_metrics`."""


@lru_cache(maxsize=4096)
def find_metric(name: str) -> Metric | None:
    """Returns the metric, or the family, that `name` belongs to; None if there is none."""
    return next((metric for metric in METRICS if metric.has_name(name)), None)


def require_declared(names: Iterable[str]) -> None:
    """Raise ValueError if one of these names is not declared here."""
    strange = [name for name in names if find_metric(name) is None]
    if strange:
        raise ValueError(
            f"no metric is called {', '.join(map(repr, strange))}; "
            "declare its name, unit and meaning in entrain/metrics.py"
        )
