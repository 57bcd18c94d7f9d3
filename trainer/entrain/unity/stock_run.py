"""The ML-Agents settings of a whole run, each key with the default of mlagents-learn 1.1.0."""

from typing import Any

from pydantic import Field, field_validator

from entrain.unity.stock_fields import (
    LenientStockOptions,
    StockCount,
    StockCountOrUnlimited,
    StockCountOrZero,
    StockInteger,
    StockOptions,
    StockPositive,
    StockTruth,
)
from entrain.unity.stock_parameters import StockParameter
from entrain.unity.stock_trainer import AnyStockTrainer


class StockEnvironment(StockOptions):
    """Which game is started, how often, and where it connects."""

    env_path: str | None = None

    env_args: tuple[str, ...] | None = None

    base_port: StockCount = Field(default=5005, le=65535)

    num_envs: StockCount = 1

    num_areas: StockCount = 1

    timeout_wait: StockPositive = 60.0

    seed: StockCountOrUnlimited = -1
    """-1: another one in each run."""

    max_lifetime_restarts: StockCountOrUnlimited = 10

    restarts_rate_limit_n: StockCountOrUnlimited = 1

    restarts_rate_limit_period_s: StockPositive = 60.0

    @field_validator("env_args", mode="before")
    @classmethod
    def _one_argument(cls, value: Any) -> Any:
        """One argument may stand without a list."""
        return [value] if isinstance(value, str) else value


class StockEngine(StockOptions):
    """Settings of the game's engine."""

    width: StockCount = 84

    height: StockCount = 84

    quality_level: StockCountOrZero = 5

    time_scale: StockPositive = 20.0

    target_frame_rate: StockInteger = -1

    capture_frame_rate: StockCountOrZero = 60

    no_graphics: StockTruth = False

    no_graphics_monitor: StockTruth = False


class StockCheckpoint(StockOptions):
    """Which run it is, and what it begins with."""

    run_id: str = "ppo"

    initialize_from: str | None = None

    load_model: StockTruth = False

    resume: StockTruth = False

    force: StockTruth = False

    train_model: StockTruth = False

    inference: StockTruth = False

    results_dir: str = "results"


class StockTorch(LenientStockOptions):
    """Where networks are computed."""

    device: str | None = None


class StockRun(StockOptions):
    """One file of settings, as mlagents-learn takes it."""

    default_settings: AnyStockTrainer | None = None

    behaviors: dict[str, AnyStockTrainer] = {}

    env_settings: StockEnvironment = StockEnvironment()

    engine_settings: StockEngine = StockEngine()

    environment_parameters: dict[str, StockParameter] = {}

    checkpoint_settings: StockCheckpoint = StockCheckpoint()

    torch_settings: StockTorch = StockTorch()

    debug: StockTruth = False

    @field_validator("behaviors", "environment_parameters", mode="before")
    @classmethod
    def _empty_is_none_of_them(cls, value: Any) -> Any:
        return {} if value is None else value
