"""Whether a new behaviour fits beside those that all ranks serve: rank 0 judges every claim of one.

Each rank has judged its own before. Two that fit alone may have come to two ranks at one moment.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from entrain.app.build import policy_options
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.policy.replay_size import replay_in_words, replays_of
from entrain_envs.spec import BehaviourSpec

Judge: TypeAlias = Callable[[BehaviourSpec, Sequence[BehaviourSpec]], None]
"""Given a claimed behaviour and all that were accepted before: ConfigError if it does not fit."""


def judge_claims(config: RunConfig, num_ranks: int) -> Judge:
    """Returns the judge of a run: of what policies share, their number and their replays.

    Args:
        config: of the run.
        num_ranks: that learn together.
    """
    most = config.server.max_behaviours

    def judge(spec: BehaviourSpec, others: Sequence[BehaviourSpec]) -> None:
        if len(others) >= most:
            raise ConfigError(
                f"the simulators of all ranks have brought {len(others):,} of the {most:,} "
                "behaviours that the run allows; raise server.max_behaviours of the trainer, or "
                "give agents that are alike one behaviour"
            )
        replay_in_words(
            spec,
            policy_options(config, spec.name),
            config.server,
            config.checkpoints,
            others=replays_of((each, policy_options(config, each.name)) for each in others),
            num_ranks=num_ranks,
        )

    return judge
