"""The metrics of where the time of a round goes, a round being what lies between two updates.

What a policy's loop does one after the other, `time/wait` to `time/checkpoint`, adds up to 1 but
for the time before the first batch. Messages are read and written while the loop waits.
"""

from entrain.metric import Metric


def _share(part: str, *, meaning: str, remedy: str) -> Metric:
    return Metric(
        name=f"time/{part}",
        unit="0 to 1",
        shown=".2f",
        meaning=meaning,
        remedy=remedy,
        is_of_all_ranks=False,
    )


TIME_WAIT = _share(
    "wait",
    meaning="Share of the time since the update before in which answers were written and this "
    "policy waited for simulators.",
    remedy="Near 1, the simulators are the bottleneck: start more of them (`simulators.launch`), "
    "or put more agents into each. Near 0, the trainer is; look at `time/learn`.",
)
TIME_OBSERVE = _share(
    "observe",
    meaning="Share of the time in which the policy was evaluated on observations.",
    remedy="If it is large, the network is large for this processor: choose a smaller one, or "
    "`device: cuda`.",
)
TIME_LEARN = _share(
    "learn",
    meaning="Share of the time in which simulators waited for an update.",
    remedy="Near 1, updates are the bottleneck: lower `num_epochs`, raise `minibatch_size`, or "
    "choose a smaller network or `device: cuda`. More simulators do not help. In between, "
    "`policy_lag` 1 lets simulators go on during updates.",
)
TIME_ACT = _share(
    "act",
    meaning="Share of the time in which actions were sampled.",
    remedy="It should be small. If it is not, batches are very small: put more agents into each "
    "simulator.",
)
TIME_RECORD = _share(
    "record",
    meaning="Share of the time in which steps were stored for learning, while simulators compute.",
    remedy="It slows simulators down only if they compute a step in less time than this takes.",
)
TIME_DECODE = _share(
    "decode",
    meaning="Share of the time in which messages of all simulators were read and checked.",
    remedy="If it is large, observations are large: send smaller images, as uint8.",
)
TIME_ENCODE = _share(
    "encode",
    meaning="Share of the time in which answers to all simulators were written.",
    remedy="It should be small. If it is not, put more agents into each simulator: one message "
    "serves all of them.",
)
TIME_REPORT = _share(
    "report",
    meaning="Share of the time in which the update before was written down and shown.",
    remedy="It should be small. If it is not, updates are very short: raise `rollout_steps`. On a "
    "disk that is slow or far away, name another one with `runs_directory`.",
)
TIME_CHECKPOINT = _share(
    "checkpoint",
    meaning="Share of the time in which all policies stood still while the state of a checkpoint "
    "was copied; 0 if none was due. It is written to the disk beside training.",
    remedy="If it is large, checkpoints are frequent: raise `checkpoints.every_steps`.",
)
UPDATE_SECONDS = Metric(
    name="time/update_seconds",
    unit="seconds",
    better="less is better",
    meaning="How long the update took, waited for or not: with `policy_lag` 1 the next rollout is "
    "collected meanwhile.",
    remedy="Raise `minibatch_size`, lower `num_epochs`, or choose a smaller network or "
    "`device: cuda`. If it varies, something else needs the processor.",
    is_of_all_ranks=False,
)

ROUND_METRICS = tuple(each for each in list(vars().values()) if isinstance(each, Metric))
"""All that are declared above, in that order."""
