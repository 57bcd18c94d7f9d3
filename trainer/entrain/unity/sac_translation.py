"""Translates what the ML-Agents settings of one behaviour say of `trainer_type: sac`.

What they say of networks, rewards and steps is in `policy_translation`.
"""

from collections.abc import Iterator
from typing import Final

from entrain.unity.draft import Draft
from entrain.unity.stock_trainer import StockSACTrainer
from entrain.unity.translated import FINAL_LEARNING_RATE, OWN, Translated

ROLLOUT_STEPS: Final = 64
"""Between two updates; how many gradient steps one has follows from steps_per_update."""

MIN_LOG_SIGMA_SQ: Final = -40.0
MAX_LOG_SIGMA_SQ: Final = 4.0
"""Twice the -20 and 2 between which mlagents-learn keeps ln sigma."""

TARGET_FRACTION: Final = 0.2
"""Of the entropy of equally likely choices."""


def options_of_sac(trainer: StockSACTrainer) -> Iterator[Translated]:
    """(option, value, where it comes from) of everything that is SAC's own."""
    asked = trainer.hyperparameters
    yield from (
        ("rollout_steps", ROLLOUT_STEPS, "steps_per_update holds whatever their number"),
        ("action.distribution", "squashed_gaussian", OWN),
        ("action.log_sigma_sq", "network", OWN),
        ("action.min_log_sigma_sq", MIN_LOG_SIGMA_SQ, OWN),
        ("action.max_log_sigma_sq", MAX_LOG_SIGMA_SQ, OWN),
        ("network.shared", False, OWN),
        ("entropy.objective", "soft_return", OWN),
        ("entropy.coefficient", asked.init_entcoef, "init_entcoef"),
        ("entropy.target.per_dimension", -1.0, OWN),
        ("entropy.target.fraction", TARGET_FRACTION, OWN),
        ("algorithm.kind", "sac", "trainer_type"),
        ("algorithm.replay_size", asked.buffer_size, "buffer_size"),
        ("algorithm.batch_size", asked.batch_size, "batch_size"),
        ("algorithm.updates_per_step", 1.0 / asked.steps_per_update, "1 / steps_per_update"),
        ("algorithm.learning_starts", asked.buffer_init_steps, "buffer_init_steps"),
        ("algorithm.n_step", 1, OWN),
        ("algorithm.learning_rate", asked.learning_rate, "learning_rate"),
        (
            "algorithm.learning_rate_schedule",
            asked.learning_rate_schedule,
            "learning_rate_schedule",
        ),
        ("algorithm.final_learning_rate", FINAL_LEARNING_RATE, OWN),
        ("algorithm.temperature_learning_rate", asked.learning_rate, "learning_rate"),
        ("algorithm.target_rate", asked.tau, "tau"),
        ("algorithm.critics", 2, OWN),
    )


def note_what_sac_ignores(draft: Draft, behaviour: str, trainer: StockSACTrainer) -> None:
    """Say which keys that the file names have no option, and why."""
    asked = trainer.hyperparameters
    if "save_replay_buffer" in asked.model_fields_set and not asked.save_replay_buffer:
        draft.notes.append(
            f"{behaviour}: save_replay_buffer has no effect: every checkpoint holds the replay, so "
            "that a run goes on exactly where it was"
        )
    if asked.reward_signal_steps_per_update is not None:
        draft.notes.append(
            f"{behaviour}: reward_signal_steps_per_update has no effect, for extrinsic is the only "
            "reward signal and is not learned"
        )
    if "time_horizon" in trainer.model_fields_set:
        draft.notes.append(
            f"{behaviour}: time_horizon has no effect with sac, which learns from single steps"
        )
