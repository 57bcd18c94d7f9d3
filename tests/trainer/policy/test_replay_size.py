"""What a replay would take is reckoned, told, and refused beyond what memory and disk may hold."""

import logging

import pytest

from entrain.config.policy import PolicyConfig
from entrain.config.run import CheckpointsConfig, ServerConfig
from entrain.errors import ConfigError
from entrain.policy.replay_size import (
    Replays,
    check_replay,
    replay_capacity,
    replay_row_bytes,
    replays_of,
)
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

IMAGE = BehaviourSpec(
    "camera", (ObservationSpec("eye", (64, 64, 3), dtype="uint8"),), ActionSpec(branches=(3, 2))
)
ROW = 64 * 64 * 3 + 2 * 4 + 5 + 22
"""Pixels; two choices as int32; five flags of choices; and what each step has."""


def options_of(*, total_steps: int = 10**9, **algorithm: object) -> PolicyConfig:
    return PolicyConfig.model_validate(
        {"total_steps": total_steps, "algorithm": {"kind": "soft_q", **algorithm}}
    )


def test_its_size_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    options = options_of(replay_size=1024 * 1024 // 8)
    assert replay_row_bytes(IMAGE, options) == ROW
    check_replay(IMAGE, options, ServerConfig(), CheckpointsConfig())
    # 131,072 * 12,323 / 2^20 = 1,540.375
    assert caplog.messages == [
        "policy 'camera' has a replay of up to 1,540 MiB (131,072 observations of 12,323 bytes "
        "each)"
    ]


def test_a_small_one_is_not_said_to_be_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    check_replay(IMAGE, options_of(replay_size=8), ServerConfig(), CheckpointsConfig())
    # 8 * 12,323 / 2^20 = 0.0940
    assert "up to 0.094 MiB (8 observations" in caplog.text


@pytest.mark.parametrize(
    ("server", "checkpoints", "words", "remedy"),
    [
        (
            ServerConfig(max_replay_mib=100.0),
            CheckpointsConfig(),
            "this trainer allows 100;",
            "raise server.max_replay_mib",
        ),
        (
            ServerConfig(),
            CheckpointsConfig(replay_mib=100.0),
            "each checkpoint, which holds them, may have 100;",
            "raise checkpoints.replay_mib",
        ),
    ],
)
def test_one_that_is_too_large_is_refused_with_what_would_fit(
    server: ServerConfig, checkpoints: CheckpointsConfig, words: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_replay(IMAGE, options_of(replay_size=10_000), server, checkpoints)
    said = str(caught.value)
    # 10,000 * 12,323 / 2^20 = 117.5; 100 * 2^20 // 12,323 = 8,509.
    assert "its replay would take 118 MiB (10,000 observations of 12,323 bytes each)" in said
    assert words in said
    assert "lower algorithm.replay_size to at most 8,509" in said
    assert said.endswith(remedy)
    check_replay(IMAGE, options_of(replay_size=8509), server, checkpoints)


def test_a_short_run_needs_no_more_than_it_can_fill() -> None:
    assert replay_capacity(options_of(total_steps=50)) == 100
    assert replay_capacity(options_of(replay_size=30)) == 30


def test_without_a_replay_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    check_replay(IMAGE, PolicyConfig(), ServerConfig(), CheckpointsConfig())
    assert replay_capacity(PolicyConfig()) == 0
    assert caplog.messages == []


def test_a_checkpoint_holds_the_replays_of_all_ranks() -> None:
    limits = ServerConfig(), CheckpointsConfig(replay_mib=400.0)
    check_replay(IMAGE, options_of(replay_size=8509), *limits, num_ranks=4)
    with pytest.raises(ConfigError, match="those of each of 4 ranks, may have 100; ") as caught:
        check_replay(IMAGE, options_of(replay_size=8510), *limits, num_ranks=4)
    assert "to at most 8,509" in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ((ServerConfig(max_replay_mib=300.0), CheckpointsConfig()), "server.max_replay_mib"),
        ((ServerConfig(), CheckpointsConfig(replay_mib=300.0)), "checkpoints.replay_mib"),
    ],
)
def test_the_replays_of_all_policies_together_are_held_to_a_limit(
    limits: tuple[ServerConfig, CheckpointsConfig], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    # 8,509 rows have 100 MiB but 1,193 bytes: a third replay has room for as many, and no more.
    others = replays_of([(IMAGE, PolicyConfig()), *[(IMAGE, options_of(replay_size=8509))] * 2])
    assert others == Replays(2, 2 * 8509 * ROW)
    check_replay(IMAGE, options_of(replay_size=8509), *limits, others=others)
    assert caplog.messages == [
        "policy 'camera' has a replay of up to 100 MiB (8,509 observations of 12,323 bytes each), "
        "all 3 replays together 300 MiB"
    ]
    with pytest.raises(ConfigError) as caught:
        check_replay(IMAGE, options_of(replay_size=9000), *limits, others=others)
    said = str(caught.value)
    # 9,000 * 12,323 / 2^20 = 105.8, and with the others 305.8.
    assert "take 106 MiB (9,000 observations of 12,323 bytes each), all 3 replays together" in said
    assert "together 306 MiB, and" in said
    assert "lower algorithm.replay_size to at most 8,509" in said
    assert said.endswith(f"raise {name}")


def test_where_no_row_fits_any_more_the_others_are_to_be_smaller() -> None:
    limits = ServerConfig(), CheckpointsConfig(replay_mib=100.0)
    with pytest.raises(ConfigError, match="replay_size, of the other policies too, send smaller"):
        check_replay(IMAGE, options_of(replay_size=1), *limits, others=Replays(1, 100 * 2**20))
