"""Translates the ML-Agents settings of one behaviour into the options of a policy.

Numbers that ML-Agents has no key for are those of mlagents-learn 1.1.0: docs/mlagents-numerics.md
says what each does.
"""

from collections.abc import Iterator
from typing import Final

from entrain.config.source import OptionPath
from entrain.unity.draft import Draft
from entrain.unity.sac_translation import note_what_sac_ignores, options_of_sac
from entrain.unity.stock_trainer import (
    StockNetwork,
    StockPPOTrainer,
    StockRewardSignal,
    StockSACTrainer,
)
from entrain.unity.translated import FINAL_LEARNING_RATE, OWN, Translated

FINAL_EPSILON: Final = 0.1
FINAL_BETA: Final = 1e-5
"""Final value of mlagents-learn's linear schedules."""

ADAM_EPSILON: Final = 1e-8
OBSERVATION_CLIP: Final = 5.0
ACTION_CLIP: Final = 3.0
MAX_LOG_SIGMA_SQ: Final = 40.0
ENTITY_FEATURES: Final = 128
ENTITY_HEADS: Final = 4


def translate_trainer(
    draft: Draft, behaviour: str, trainer: StockPPOTrainer | StockSACTrainer
) -> None:
    """Set `policies.BEHAVIOUR` in the draft."""
    policy = ("policies", behaviour)
    extrinsic = trainer.reward_signals.extrinsic or StockRewardSignal()
    network = trainer.network_settings
    for path, value, remark in (
        ("total_steps", trainer.max_steps, "max_steps"),
        ("discount", extrinsic.gamma, "reward_signals.extrinsic.gamma"),
        ("policy_lag", int(trainer.threaded), "threaded"),
        ("normalize_observations", network.normalize, "network_settings.normalize"),
        ("observation_clip", OBSERVATION_CLIP, OWN),
        ("normalize_values", False, OWN),
        ("normalize_rewards", False, OWN),
        ("reward_scale", extrinsic.strength, "reward_signals.extrinsic.strength"),
        ("algorithm.adam_epsilon", ADAM_EPSILON, OWN),
        ("algorithm.max_grad_norm", 0.0, OWN),
        *_options_of_network(network),
        *(_options_of_ppo(trainer) if isinstance(trainer, StockPPOTrainer) else ()),
        *(options_of_sac(trainer) if isinstance(trainer, StockSACTrainer) else ()),
    ):
        draft.set(path, value, remark, within=policy)
    _translate_memory(draft, policy, network)
    if isinstance(trainer, StockSACTrainer):
        note_what_sac_ignores(draft, behaviour, trainer)
    if network.deterministic:
        draft.notes.append(
            f"{behaviour}: deterministic has no effect while a policy learns, for it would explore "
            "nothing; entrain evaluate acts deterministically"
        )


def _options_of_network(asked: StockNetwork) -> Iterator[Translated]:
    hidden_sizes = [asked.hidden_units] * max(1, asked.num_layers)
    conditioning = "hypernetwork" if asked.goal_conditioning_type == "hyper" else "concatenate"
    yield from (
        ("network.hidden_sizes", hidden_sizes, "hidden_units, num_layers"),
        ("network.activation", "silu", OWN),
        ("network.image_encoder", asked.vis_encode_type, "vis_encode_type"),
        ("network.image_features", asked.hidden_units, "hidden_units"),
        ("network.entity_features", ENTITY_FEATURES, OWN),
        ("network.entity_heads", ENTITY_HEADS, OWN),
        ("network.goal_conditioning", conditioning, "goal_conditioning_type"),
    )


def _translate_memory(draft: Draft, policy: OptionPath, network: StockNetwork) -> None:
    asked = network.memory
    if asked is None:
        draft.set("network.memory.kind", "none", "network_settings.memory", within=policy)
        return
    for path, value, remark in (
        ("kind", "lstm", "network_settings.memory"),
        ("size", asked.memory_size // 2, "memory_size, half of which are cells"),
        ("layers", 1, OWN),
        ("sequence_length", asked.sequence_length, "sequence_length"),
        ("burn_in", 0, OWN),
        ("refresh_states", False, OWN),
    ):
        draft.set(f"network.memory.{path}", value, remark, within=policy)


def _options_of_ppo(trainer: StockPPOTrainer) -> Iterator[Translated]:
    asked = trainer.hyperparameters
    yield from (
        ("rollout_steps", asked.buffer_size, "buffer_size"),
        ("action.clip", ACTION_CLIP, OWN),
        ("action.max_log_sigma_sq", MAX_LOG_SIGMA_SQ, "as good as no bound, as mlagents-learn"),
        ("network.shared", asked.shared_critic, "shared_critic"),
        ("entropy.objective", "bonus", OWN),
        ("entropy.coefficient", asked.beta, "beta"),
        ("entropy.coefficient_schedule", asked.beta_schedule, "beta_schedule"),
        ("entropy.final_coefficient", FINAL_BETA, OWN),
        ("entropy.dimensions", "mean", OWN),
        ("algorithm.kind", "ppo", "trainer_type"),
        ("algorithm.minibatch_size", _minibatch_size(trainer), "batch_size"),
        ("algorithm.num_epochs", asked.num_epoch, "num_epoch"),
        ("algorithm.learning_rate", asked.learning_rate, "learning_rate"),
        (
            "algorithm.learning_rate_schedule",
            asked.learning_rate_schedule,
            "learning_rate_schedule",
        ),
        ("algorithm.final_learning_rate", FINAL_LEARNING_RATE, OWN),
        ("algorithm.gae_lambda", asked.lambd, "lambd"),
        ("algorithm.horizon", trainer.time_horizon, "time_horizon"),
        ("algorithm.surrogate", "per_dimension", OWN),
        ("algorithm.clip_range", asked.epsilon, "epsilon"),
        ("algorithm.clip_range_schedule", asked.epsilon_schedule, "epsilon_schedule"),
        ("algorithm.final_clip_range", FINAL_EPSILON, OWN),
        ("algorithm.value_clip_range", asked.epsilon, "epsilon"),
        ("algorithm.value_clip_range_schedule", asked.epsilon_schedule, "epsilon_schedule"),
        ("algorithm.final_value_clip_range", FINAL_EPSILON, OWN),
        ("algorithm.value_coefficient", 0.5, OWN),
        ("algorithm.advantage_normalization", "rollout", OWN),
        ("algorithm.target_kl", 0.0, OWN),
    )


def _minibatch_size(trainer: StockPPOTrainer) -> int:
    """With memory, as many steps as whole sequences fill."""
    size, memory = trainer.hyperparameters.batch_size, trainer.network_settings.memory
    return size if memory is None else size // memory.sequence_length * memory.sequence_length
