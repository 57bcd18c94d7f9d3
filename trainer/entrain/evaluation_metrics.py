"""The metrics of an evaluation while training. `metrics` declares all others.

They are written when an evaluation is over, in a row of their own.
"""

from entrain.metric import Metric

_WHEN = "if `evaluation` is set, after each"

EVALUATION_RETURN_MEAN = Metric(
    name="evaluation/return_mean",
    title="Return of evaluations",
    better="more is better",
    shown=",.1f",
    meaning="Mean return of the episodes of the evaluation, in which the newest weights acted and "
    "nothing was learned.",
    remedy="With `evaluation.deterministic` it shows what the policy is worth without the noise "
    "that it explores with, and is usually above `rollout/episode_return_mean`. If it is far "
    "below, the most likely action alone does badly: the policy relies on chance. If it jumps "
    "about, raise `evaluation.episodes`.",
    when=_WHEN,
    is_of_all_ranks=False,
)
EVALUATION_RETURN_STD = Metric(
    name="evaluation/return_std",
    shown=",.1f",
    meaning="Standard deviation of the return over the episodes of the evaluation.",
    remedy="Divided by the square root of `evaluation/episodes`, it says how far the mean may be "
    "off by chance.",
    when=_WHEN,
    is_of_all_ranks=False,
)
EVALUATION_RETURN_MIN = Metric(
    name="evaluation/return_min",
    better="more is better",
    shown=",.1f",
    meaning="Return of the worst episode of the evaluation.",
    remedy="If the mean is good and this is not, the policy still fails now and then; watch such "
    "an episode in the simulator.",
    when=_WHEN,
    is_of_all_ranks=False,
)
EVALUATION_RETURN_MAX = Metric(
    name="evaluation/return_max",
    better="more is better",
    shown=",.1f",
    meaning="Return of the best episode of the evaluation.",
    remedy="It says what is possible.",
    when=_WHEN,
    is_of_all_ranks=False,
)
EVALUATION_LENGTH_MEAN = Metric(
    name="evaluation/length_mean",
    unit="steps",
    shown=",.1f",
    meaning="Mean number of steps in the episodes of the evaluation.",
    remedy="As for `rollout/episode_length_mean`.",
    when=_WHEN,
    is_of_all_ranks=False,
)
EVALUATION_EPISODES = Metric(
    name="evaluation/episodes",
    unit="episodes",
    shown=",.0f",
    meaning="Episodes that count in the evaluation.",
    remedy="It is at least `evaluation.episodes`, the same number for each agent. Fewer: "
    "`evaluation.max_seconds` was over.",
    when=_WHEN,
    is_of_all_ranks=False,
)
EVALUATION_ENV_STEPS = Metric(
    name="evaluation/env_steps",
    unit="steps",
    shown=",.0f",
    meaning="Env steps that the policy had trained for when its weights were taken for the "
    "evaluation. Training goes on meanwhile, so that the row itself is of a later step.",
    remedy="It grows by about `evaluation.every_steps`. By more: an evaluation takes longer than "
    "that; lower `evaluation.episodes`, or launch more simulators in `evaluation.launch`.",
    when=_WHEN,
    is_of_all_ranks=False,
)
EVALUATION_VERSION = Metric(
    name="evaluation/version",
    unit="updates",
    shown=",.0f",
    meaning="Updates that the weights of the evaluation had seen.",
    remedy="It only grows.",
    when=_WHEN,
    is_of_all_ranks=False,
)
EVALUATION_SECONDS = Metric(
    name="evaluation/seconds",
    unit="seconds",
    shown=",.1f",
    meaning="How long the evaluation took. Training went on meanwhile.",
    remedy="If it is longer than the time between two evaluations, some are left out.",
    when=_WHEN,
    is_of_all_ranks=False,
)

EVALUATION_METRICS = tuple(each for each in list(vars().values()) if isinstance(each, Metric))
"""All that are declared above, in that order."""
