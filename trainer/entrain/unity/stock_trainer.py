"""The ML-Agents settings of one behaviour: trainer, hyperparameters, networks, reward signals.

Each key has the default of mlagents-learn 1.1.0. What a key means here is in `translation`.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag, model_validator

from entrain.unity.stock_fields import (
    LenientStockOptions,
    StockCount,
    StockCountOrZero,
    StockFraction,
    StockNonNegative,
    StockNumber,
    StockOptions,
    StockPositive,
    StockSchedule,
    StockTruth,
)

TRAINER_TYPES = ("ppo", "sac", "poca")
"""Trainers of ML-Agents itself; other names are plug-ins."""

BUILT = ("ppo", "sac")
"""Those that entrain has."""


class StockMemory(LenientStockOptions):
    """An LSTM in policy and critic."""

    sequence_length: StockCount = 64

    memory_size: StockCount = 128
    """Hidden and cell state together, so the layer is half as wide."""

    @model_validator(mode="after")
    def _check(self) -> "StockMemory":
        if self.memory_size % 2:
            raise ValueError(f"memory_size is {self.memory_size}; it must be an even number")
        return self


class StockNetwork(LenientStockOptions):
    """The networks of a behaviour, or those of one of its reward signals."""

    normalize: StockTruth = False

    hidden_units: StockCount = 128

    num_layers: StockCountOrZero = 2

    vis_encode_type: Literal["simple", "nature_cnn", "resnet", "match3", "fully_connected"] = (
        "simple"
    )

    goal_conditioning_type: Literal["hyper", "none"] = "hyper"

    deterministic: StockTruth = False

    memory: StockMemory | None = None


class StockHyperparameters(StockOptions):
    """The hyperparameters that all trainers have."""

    batch_size: StockCount = 1024

    buffer_size: StockCount = 10240

    learning_rate: StockPositive = 3e-4

    learning_rate_schedule: StockSchedule = "constant"


class StockOnPolicyHyperparameters(StockHyperparameters):
    """Hyperparameters of poca, which are most of ppo's."""

    learning_rate_schedule: StockSchedule = "linear"

    beta: StockNonNegative = 5e-3

    epsilon: StockPositive = 0.2

    lambd: StockFraction = 0.95

    num_epoch: StockCount = 3

    beta_schedule: StockSchedule = "linear"

    epsilon_schedule: StockSchedule = "linear"

    @model_validator(mode="before")
    @classmethod
    def _schedules_follow_that_of_the_learning_rate(cls, values: Any) -> Any:
        if isinstance(values, dict) and "learning_rate_schedule" in values:
            schedule = values["learning_rate_schedule"]
            return {"beta_schedule": schedule, "epsilon_schedule": schedule, **values}
        return values


class StockPPO(StockOnPolicyHyperparameters):
    """Of ppo."""

    shared_critic: StockTruth = False


class StockSAC(StockHyperparameters):
    """Of sac."""

    batch_size: StockCount = 128

    buffer_size: StockCount = 50000

    buffer_init_steps: StockCountOrZero = 0

    tau: StockNumber = 0.005

    steps_per_update: StockPositive = 1.0

    save_replay_buffer: StockTruth = False

    init_entcoef: StockNumber = 1.0

    reward_signal_steps_per_update: StockPositive | None = None
    """None: steps_per_update."""


class StockRewardSignal(StockOptions):
    """One stream of rewards; the only kind whose rewards come from the game is `extrinsic`."""

    gamma: StockFraction = 0.99

    strength: StockNonNegative = 1.0

    network_settings: StockNetwork = StockNetwork()


class StockCuriosity(StockRewardSignal):
    """Rewards for observations that are hard to predict."""

    learning_rate: StockPositive = 3e-4

    encoding_size: StockCount | None = None


class StockRND(StockRewardSignal):
    """Rewards for errors in predicting a fixed random network's output."""

    learning_rate: StockPositive = 1e-4

    encoding_size: StockCount | None = None


class StockGAIL(StockRewardSignal):
    """Rewards for acting as in a demonstration."""

    demo_path: str

    learning_rate: StockPositive = 3e-4

    encoding_size: StockCount | None = None

    use_actions: StockTruth = False

    use_vail: StockTruth = False


class StockRewardSignals(StockOptions):
    """Signals written in the file are used; without this group, `extrinsic` alone."""

    extrinsic: StockRewardSignal | None = None
    curiosity: StockCuriosity | None = None
    gail: StockGAIL | None = None
    rnd: StockRND | None = None

    @model_validator(mode="before")
    @classmethod
    def _an_empty_signal_has_its_defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if not values:
            raise ValueError("it holds no signal; a policy without rewards learns nothing")
        return {name: {} if signal is None else signal for name, signal in values.items()}


class StockSelfPlay(LenientStockOptions):
    """Playing against earlier versions of oneself."""

    save_steps: StockCount = 20000

    team_change: StockCount | None = None
    """None: five times save_steps."""

    swap_steps: StockCount = 2000

    window: StockCount = 10

    play_against_latest_model_ratio: StockFraction = 0.5

    initial_elo: StockNumber = 1200.0


class StockCloning(LenientStockOptions):
    """Learning to act as in a demonstration, beside the trainer's own updates."""

    demo_path: str

    steps: StockCountOrZero = 0

    strength: StockNumber = 1.0

    samples_per_update: StockCountOrZero = 0

    num_epoch: StockCount | None = None

    batch_size: StockCount | None = None


class StockTrainer(StockOptions):
    """The settings of a behaviour, whatever its trainer."""

    trainer_type: str = "ppo"

    network_settings: StockNetwork = StockNetwork()

    reward_signals: StockRewardSignals = StockRewardSignals(extrinsic=StockRewardSignal())

    init_path: str | None = None

    keep_checkpoints: StockCount = 5

    checkpoint_interval: StockCount = 500_000

    even_checkpoints: StockTruth = False

    max_steps: StockCount = 500_000

    time_horizon: StockCount = 64

    summary_freq: StockCount = 50_000

    threaded: StockTruth = False

    self_play: StockSelfPlay | None = None

    behavioral_cloning: StockCloning | None = None

    framework: Any = None
    """Of releases that could learn with TensorFlow. Has no effect."""


class StockPPOTrainer(StockTrainer):
    """A behaviour that PPO learns."""

    hyperparameters: StockPPO = StockPPO()

    @model_validator(mode="after")
    def _check(self) -> "StockPPOTrainer":
        memory = self.network_settings.memory
        if memory is not None and memory.sequence_length > self.hyperparameters.batch_size:
            raise ValueError(
                f"network_settings.memory.sequence_length is {memory.sequence_length}, and "
                f"hyperparameters.batch_size {self.hyperparameters.batch_size}; a minibatch must "
                "hold a sequence: lower the one or raise the other"
            )
        return self


class StockPOCATrainer(StockTrainer):
    """A behaviour that MA-POCA learns."""

    hyperparameters: StockOnPolicyHyperparameters = StockOnPolicyHyperparameters()


class StockSACTrainer(StockTrainer):
    """A behaviour that SAC learns."""

    hyperparameters: StockSAC = StockSAC()


class StockPluginTrainer(StockTrainer):
    """A behaviour that a plug-in of mlagents-learn trains, with hyperparameters of its own."""

    hyperparameters: dict[str, Any] = {}


def _kind(values: Any) -> str:
    if isinstance(values, StockTrainer):
        return values.trainer_type if values.trainer_type in TRAINER_TYPES else "plug-in"
    named = values.get("trainer_type", "ppo") if isinstance(values, dict) else "ppo"
    if not isinstance(named, str):
        return "ppo"
    return named if named in TRAINER_TYPES else "plug-in"


AnyStockTrainer = Annotated[
    Annotated[StockPPOTrainer, Tag("ppo")]
    | Annotated[StockPOCATrainer, Tag("poca")]
    | Annotated[StockSACTrainer, Tag("sac")]
    | Annotated[StockPluginTrainer, Tag("plug-in")],
    Discriminator(_kind),
]
"""Selected by `trainer_type`. In a location as pydantic reports it, its tag follows the behaviour's
name."""
