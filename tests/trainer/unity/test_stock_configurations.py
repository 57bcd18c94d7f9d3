"""The 39 configurations that come with ML-Agents' example games: read, translated or refused.

The files say what those of release 21 say: keys, names and numbers.
"""

import logging
from pathlib import Path

import pytest

from entrain.config.load import load_config
from entrain.errors import ConfigError
from entrain.unity.conversion import native_yaml
from entrain.unity.stock_file import load_stock
from entrain.unity.translation import translate

STOCK = Path(__file__).parent / "stock"

MISSING = {
    "ppo/Pyramids": ["reward signal curiosity (behaviors.Pyramids)"],
    "ppo/PyramidsRND": ["reward signal rnd (behaviors.Pyramids)"],
    "sac/Pyramids": [
        "trainer_type sac (behaviors.Pyramids)",
        "reward signal gail (behaviors.Pyramids)",
    ],
    "sac/WallJump": [
        "trainer_type sac (behaviors.BigWallJump)",
        "trainer_type sac (behaviors.SmallWallJump)",
    ],
    "poca/SoccerTwos": [
        "trainer_type poca (behaviors.SoccerTwos)",
        "self_play (behaviors.SoccerTwos)",
    ],
    "poca/StrikersVsGoalie": [
        "trainer_type poca (behaviors.Goalie)",
        "self_play (behaviors.Goalie)",
        "trainer_type poca (behaviors.Striker)",
        "self_play (behaviors.Striker)",
    ],
    "imitation/Crawler": [
        "reward signal gail (behaviors.Crawler)",
        "reward_signals without extrinsic (behaviors.Crawler)",
        "behavioral_cloning (behaviors.Crawler)",
    ],
    "imitation/Hallway": ["reward signal gail (behaviors.Hallway)"],
    "imitation/PushBlock": [
        "reward signal gail (behaviors.PushBlock)",
        "reward_signals without extrinsic (behaviors.PushBlock)",
        "behavioral_cloning (behaviors.PushBlock)",
    ],
    "imitation/Pyramids": [
        "reward signal curiosity (behaviors.Pyramids)",
        "reward signal gail (behaviors.Pyramids)",
        "behavioral_cloning (behaviors.Pyramids)",
    ],
}
"""{file: the parts that it needs and are not built}; of sac and poca, those with more than one."""


def names() -> list[str]:
    return sorted(str(path.relative_to(STOCK).with_suffix("")) for path in STOCK.rglob("*.yaml"))


def missing_parts(name: str) -> list[str]:
    if name in MISSING:
        return MISSING[name]
    trainer, game = name.split("/")
    behaviour = "GridFoodCollector" if game == "FoodCollector" else game
    return [] if trainer == "ppo" else [f"trainer_type {trainer} (behaviors.{behaviour})"]


def test_there_are_39() -> None:
    assert len(names()) == 39


@pytest.mark.parametrize("name", names())
def test_each_is_translated_or_refused_by_the_names_of_what_is_missing(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = load_stock(STOCK / f"{name}.yaml", {})
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    parts = missing_parts(name)
    if parts:
        with pytest.raises(ConfigError) as refusal:
            translate(file)
        assert refusal.value.exit_code == 2
        assert f": not yet in entrain: {'; '.join(parts)}. Nothing was" in str(refusal.value)
        return
    translation = translate(file)
    converted = tmp_path / "native.yaml"
    converted.write_text(native_yaml(translation, file), encoding="utf-8")
    assert load_config(converted, []) == translation.config
    assert set(translation.config.policies) - {"*"} == set(file.run.behaviors)
