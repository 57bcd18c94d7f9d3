"""Finds parts of ML-Agents that a run needs and entrain does not have yet.

Users are told before anything starts; nothing is left out silently.
"""

import difflib
from collections.abc import Iterator, Mapping

from entrain.config.source import show_path
from entrain.errors import ConfigError
from entrain.unity.stock_file import StockFile
from entrain.unity.stock_trainer import (
    TRAINER_TYPES,
    StockPPOTrainer,
    StockSACTrainer,
    StockTrainer,
)


def require_nothing_missing(file: StockFile, trainers: Mapping[str, StockTrainer]) -> None:
    """ConfigError that lists every part which is not built yet.

    Args:
        file: the settings.
        trainers: {behaviour or "*": its settings}, those that are wanted.
    """
    parts = [
        f"{part} ({_place(name)})"
        for name, trainer in trainers.items()
        for part in _missing_parts(trainer)
    ]
    if parts:
        raise ConfigError(
            f"{file.source.whole.place}: not yet in entrain: {'; '.join(parts)}. Nothing was "
            "started; train without these parts, or with mlagents-learn"
        )


def _place(name: str) -> str:
    return "default_settings" if name == "*" else show_path(("behaviors", name))


def _missing_parts(trainer: StockTrainer) -> Iterator[str]:
    kind = trainer.trainer_type
    if not isinstance(trainer, StockPPOTrainer | StockSACTrainer):
        yield f"trainer_type {kind}{'' if kind in TRAINER_TYPES else _plugin(kind)}"
    if isinstance(trainer, StockSACTrainer) and trainer.network_settings.memory is not None:
        yield "memory with trainer_type sac"
    signals = trainer.reward_signals
    for name in ("curiosity", "gail", "rnd"):
        if getattr(signals, name) is not None:
            yield f"reward signal {name}"
    if signals.extrinsic is None:
        yield "reward_signals without extrinsic"
    if trainer.self_play is not None:
        yield "self_play"
    if trainer.behavioral_cloning is not None:
        yield "behavioral_cloning"


def _plugin(name: str) -> str:
    near = difflib.get_close_matches(name, TRAINER_TYPES, n=1)
    return f", a plug-in's{f' - or did you mean {near[0]}?' if near else ''}"
