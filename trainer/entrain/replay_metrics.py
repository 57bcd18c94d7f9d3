"""The metrics of algorithms that learn from a replay, beside those that every algorithm has."""

from entrain.metric import Metric

_WHEN_REPLAY = "for algorithms with a replay"
_WHEN_STEPS = "for algorithms with a replay, once gradient steps are taken"
LOSS_Q = Metric(
    name="loss/q",
    title="Loss of action values",
    better="less is better",
    meaning="Squared error of the action values, mean over the gradient steps of the update, in "
    "squares of what rewards are measured in.",
    remedy="It follows the size of returns, and rises while the policy finds better ones. If it "
    "grows without end, lower `learning_rate`, or `target_rate` (not with `batch_norm`), or set "
    "`max_grad_norm`.",
    when=_WHEN_STEPS,
)
Q_MEAN = Metric(
    name="value/q",
    title="Action value",
    shown=".4g",
    meaning="Mean of the values of the actions in the sampled steps: the discounted sum of rewards "
    "to come, entropy included.",
    remedy="It follows the return, as far as `discount` looks ahead. If it runs away from what "
    "agents can reach, lower `learning_rate`, or `target_rate` (not with `batch_norm`).",
    when=_WHEN_STEPS,
)
REPLAY_STEPS = Metric(
    name="replay/steps",
    unit="steps",
    shown=",.0f",
    meaning="Steps in the replay that can be learned from, after the update.",
    remedy="It rises until the replay is full: to less than `replay_size`, for the ends of "
    "episodes take room too.",
    when=_WHEN_REPLAY,
)
REPLAY_AGE = Metric(
    name="replay/age",
    title="Age of the replay",
    unit="updates",
    shown=",.1f",
    meaning="Updates since the policy that chose the actions of these steps, mean over all.",
    remedy="It is half of the updates that a replay lasts. If a policy forgets what it could, let "
    "the replay be larger; if it follows a task that changes too slowly, smaller.",
    when=_WHEN_REPLAY,
)
GRADIENT_STEPS = Metric(
    name="update/gradient_steps",
    unit="steps",
    shown=",.0f",
    meaning="Gradient steps of this update.",
    remedy="It follows from `rollout_steps` and `updates_per_step`; 0 until `learning_starts`.",
    when=_WHEN_REPLAY,
)
STEPS_RATIO = Metric(
    name="update/steps_ratio",
    shown=".3f",
    meaning="Gradient steps for each env step, since learning started.",
    remedy="It is `updates_per_step`, whatever the speed of simulators.",
    when=_WHEN_REPLAY,
)

REPLAY_METRICS = tuple(each for each in list(vars().values()) if isinstance(each, Metric))
"""All that are declared above, in that order."""
