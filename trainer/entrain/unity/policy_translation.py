"""Translates the ML-Agents settings of one behaviour into the options of a policy.

Numbers that ML-Agents has no key for are those of mlagents-learn 1.1.0: docs/mlagents-numerics.md
says what each does.
"""

from typing import Final

from entrain.config.source import OptionPath
from entrain.unity.draft import Draft
from entrain.unity.stock_trainer import StockNetwork, StockPPOTrainer, StockRewardSignal

FINAL_LEARNING_RATE: Final = 1e-10
FINAL_EPSILON: Final = 0.1
FINAL_BETA: Final = 1e-5
"""Final value of mlagents-learn's linear schedules."""

ADAM_EPSILON: Final = 1e-8
OBSERVATION_CLIP: Final = 5.0
ACTION_CLIP: Final = 3.0
MAX_LOG_SIGMA_SQ: Final = 40.0
ENTITY_FEATURES: Final = 128
ENTITY_HEADS: Final = 4

_OWN: Final = "as mlagents-learn does"


def translate_trainer(draft: Draft, behaviour: str, trainer: StockPPOTrainer) -> None:
    """Set `policies.BEHAVIOUR` in the draft."""
    policy = ("policies", behaviour)
    extrinsic = trainer.reward_signals.extrinsic or StockRewardSignal()
    network = trainer.network_settings
    for path, value, remark in (
        ("total_steps", trainer.max_steps, "max_steps"),
        ("rollout_steps", trainer.hyperparameters.buffer_size, "buffer_size"),
        ("discount", extrinsic.gamma, "reward_signals.extrinsic.gamma"),
        ("policy_lag", int(trainer.threaded), "threaded"),
        ("normalize_observations", network.normalize, "network_settings.normalize"),
        ("observation_clip", OBSERVATION_CLIP, _OWN),
        ("normalize_values", False, _OWN),
        ("normalize_rewards", False, _OWN),
        ("reward_scale", extrinsic.strength, "reward_signals.extrinsic.strength"),
        ("action.clip", ACTION_CLIP, _OWN),
        ("action.max_log_sigma_sq", MAX_LOG_SIGMA_SQ, "as good as no bound, as mlagents-learn"),
    ):
        draft.set(path, value, remark, within=policy)
    _translate_network(draft, policy, trainer)
    _translate_entropy(draft, policy, trainer)
    _translate_hyperparameters(draft, policy, trainer)
    if network.deterministic:
        draft.notes.append(
            f"{behaviour}: deterministic has no effect while a policy learns, for it would explore "
            "nothing; entrain evaluate acts deterministically"
        )


def _translate_network(draft: Draft, policy: OptionPath, trainer: StockPPOTrainer) -> None:
    asked = trainer.network_settings
    hidden_sizes = [asked.hidden_units] * max(1, asked.num_layers)
    conditioning = "hypernetwork" if asked.goal_conditioning_type == "hyper" else "concatenate"
    for path, value, remark in (
        ("hidden_sizes", hidden_sizes, "hidden_units, num_layers"),
        ("activation", "silu", _OWN),
        ("shared", trainer.hyperparameters.shared_critic, "shared_critic"),
        ("image_encoder", asked.vis_encode_type, "vis_encode_type"),
        ("image_features", asked.hidden_units, "hidden_units"),
        ("entity_features", ENTITY_FEATURES, _OWN),
        ("entity_heads", ENTITY_HEADS, _OWN),
        ("goal_conditioning", conditioning, "goal_conditioning_type"),
    ):
        draft.set(f"network.{path}", value, remark, within=policy)
    _translate_memory(draft, policy, asked)


def _translate_memory(draft: Draft, policy: OptionPath, network: StockNetwork) -> None:
    asked = network.memory
    if asked is None:
        draft.set("network.memory.kind", "none", "network_settings.memory", within=policy)
        return
    for path, value, remark in (
        ("kind", "lstm", "network_settings.memory"),
        ("size", asked.memory_size // 2, "memory_size, half of which are cells"),
        ("layers", 1, _OWN),
        ("sequence_length", asked.sequence_length, "sequence_length"),
        ("burn_in", 0, _OWN),
        ("refresh_states", False, _OWN),
    ):
        draft.set(f"network.memory.{path}", value, remark, within=policy)


def _translate_entropy(draft: Draft, policy: OptionPath, trainer: StockPPOTrainer) -> None:
    asked = trainer.hyperparameters
    for path, value, remark in (
        ("objective", "bonus", _OWN),
        ("coefficient", asked.beta, "beta"),
        ("coefficient_schedule", asked.beta_schedule, "beta_schedule"),
        ("final_coefficient", FINAL_BETA, _OWN),
        ("dimensions", "mean", _OWN),
    ):
        draft.set(f"entropy.{path}", value, remark, within=policy)


def _translate_hyperparameters(draft: Draft, policy: OptionPath, trainer: StockPPOTrainer) -> None:
    asked = trainer.hyperparameters
    for path, value, remark in (
        ("kind", "ppo", "trainer_type"),
        ("minibatch_size", _minibatch_size(trainer), "batch_size"),
        ("num_epochs", asked.num_epoch, "num_epoch"),
        ("learning_rate", asked.learning_rate, "learning_rate"),
        ("learning_rate_schedule", asked.learning_rate_schedule, "learning_rate_schedule"),
        ("final_learning_rate", FINAL_LEARNING_RATE, _OWN),
        ("adam_epsilon", ADAM_EPSILON, _OWN),
        ("gae_lambda", asked.lambd, "lambd"),
        ("horizon", trainer.time_horizon, "time_horizon"),
        ("surrogate", "per_dimension", _OWN),
        ("clip_range", asked.epsilon, "epsilon"),
        ("clip_range_schedule", asked.epsilon_schedule, "epsilon_schedule"),
        ("final_clip_range", FINAL_EPSILON, _OWN),
        ("value_clip_range", asked.epsilon, "epsilon"),
        ("value_clip_range_schedule", asked.epsilon_schedule, "epsilon_schedule"),
        ("final_value_clip_range", FINAL_EPSILON, _OWN),
        ("value_coefficient", 0.5, _OWN),
        ("max_grad_norm", 0.0, _OWN),
        ("advantage_normalization", "rollout", _OWN),
        ("target_kl", 0.0, _OWN),
    ):
        draft.set(f"algorithm.{path}", value, remark, within=policy)


def _minibatch_size(trainer: StockPPOTrainer) -> int:
    """With memory, as many steps as whole sequences fill."""
    size, memory = trainer.hyperparameters.batch_size, trainer.network_settings.memory
    return size if memory is None else size // memory.sequence_length * memory.sequence_length
