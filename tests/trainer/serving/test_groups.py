"""Groups of agents: carried row by row; what an agent earned is its reward and its group's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from acting_and_collecting import ActingAndCollecting
from entrain.app.episode_quota import EpisodeQuota
from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.requests import SlotTimesteps
from entrain.run.state_files import decode_state, encode_state
from entrain.serving.slots import NO_SLOTS
from entrain.serving.step_order import StepOrder
from entrain_envs.codec import BehaviourCodec, decode_timesteps, encode_timesteps
from entrain_envs.errors import SpecError, WireError
from entrain_envs.magnitudes import Magnitudes
from entrain_envs.timestep import StepType, TimestepBatch
from support.world import WALKER, timesteps_of

FIRST, MID, TERMINATED = StepType.FIRST, StepType.MID, StepType.TERMINATED
Make = Callable[..., Any]
Rows = Callable[..., TimestepBatch]


def grouped(timesteps: TimestepBatch, ids: list[int], rewards: list[float]) -> TimestepBatch:
    return replace(
        timesteps,
        group_id=np.array(ids, np.int64),
        group_reward=np.array(rewards, np.float32),
    )


@pytest.mark.parametrize("decode", [decode_timesteps, None])
def test_they_are_read_as_they_were_written(rows: Rows, decode: Any) -> None:
    sent = grouped(rows((1, MID, 0.5), (2, MID, 1.0)), [7, 0], [2.0, -1.0])
    message = encode_timesteps(WALKER, sent)
    read = (
        BehaviourCodec(WALKER).decode_timesteps(message)
        if decode is None
        else decode(WALKER, message)
    )
    assert read.group_id is not None
    assert read.group_id.tolist() == [7, 0]
    assert read.earned.tolist() == [2.5, 0.0]


def test_without_groups_nothing_is_sent_or_computed(rows: Rows) -> None:
    sent = rows((1, MID, 0.5))
    message = encode_timesteps(WALKER, sent)
    assert (message.group_id, message.group_reward) == (b"", b"")
    read = BehaviourCodec(WALKER).decode_timesteps(message)
    assert read.group_id is None
    assert read.group_reward is None
    assert read.earned is read.reward
    assert sent.without_groups() is sent


def test_a_field_of_the_wrong_length_names_what_was_expected(rows: Rows) -> None:
    message = encode_timesteps(WALKER, grouped(rows((1, MID), (2, MID)), [1, 1], [0.0, 0.0]))
    message.group_reward = b"123"
    with pytest.raises(WireError, match=r"group_reward has 3 bytes; expected 8: float32\[2\]"):
        BehaviourCodec(WALKER).decode_timesteps(message)


def test_a_groups_reward_keeps_the_limits_of_rewards(rows: Rows) -> None:
    nan = grouped(rows((1, MID)), [1], [np.nan])
    with pytest.raises(SpecError, match=r"group_reward, row 0 \(agent 1\) holds nan"):
        nan.check(WALKER)
    codec = BehaviourCodec(WALKER, Magnitudes(reward=1e15))
    large = encode_timesteps(WALKER, grouped(rows((1, MID)), [1], [1e20]))
    with pytest.raises(SpecError, match=r"group_reward, row 0 \(agent 1\) holds 1e\+20"):
        codec.decode_timesteps(large)


def test_simulators_with_and_without_groups_share_a_batch(make_world: Make, rows: Rows) -> None:
    world = make_world(expect=2)
    plain = world.join("a")
    team = world.join("b", instance_id="process-2")
    plain.step(1, (1, FIRST))
    part = encode_timesteps(WALKER, grouped(rows((5, FIRST), (6, FIRST)), [3, 3], [0.0, 0.0]))
    team.send(step={"sequence": 1, "behaviours": [part]})
    timesteps = world.serve().timesteps
    assert timesteps.agent_id.tolist() == [1, 5, 6]
    assert timesteps.group_id.tolist() == [0, 3, 3]
    assert timesteps.group_reward.tolist() == [0.0, 0.0, 0.0]


def test_a_batch_of_a_checkpoint_has_them(rows: Rows) -> None:
    for timesteps in (grouped(rows((1, MID)), [3], [2.0]), rows((1, MID))):
        batch = SlotTimesteps(np.array([0]), timesteps, NO_SLOTS, 1)
        restored = SlotTimesteps.from_state(decode_state(*encode_state(batch.state())))
        assert restored.timesteps.earned.tolist() == timesteps.earned.tolist()
        assert (restored.timesteps.group_id is None) == (timesteps.group_id is None)
    old = batch.state()
    del old["group_id"], old["group_reward"]
    assert SlotTimesteps.from_state(old).timesteps.group_reward is None


def test_rows_of_agents_that_were_forgotten_keep_their_group(rows: Rows) -> None:
    lost = grouped(rows((1, MID, 1.0), (2, TERMINATED, 1.0)), [3, 4], [2.0, 2.0])
    (kept,) = [StepOrder().welcome_strays(lost)]
    assert kept.group_id is not None
    assert kept.group_id.tolist() == [3]
    assert kept.earned.tolist() == [0.0]


def test_an_evaluation_counts_what_the_group_earned(rows: Rows) -> None:
    quota = EpisodeQuota(1)
    for timesteps in (
        rows((1, FIRST)),
        grouped(rows((1, MID, 1.0)), [3], [10.0]),
        grouped(rows((1, TERMINATED, 2.0)), [3], [20.0]),
    ):
        quota.take_in(SlotTimesteps(np.array([0]), timesteps, NO_SLOTS, 1))
    assert quota.scores.returns.tolist() == [33.0]


def test_a_policy_learns_from_what_the_group_earned() -> None:
    options = {"total_steps": 100, "network": {"hidden_sizes": [4]}, "rollout_steps": 64}
    policy = ActorCritic(WALKER, PolicyConfig.model_validate(options), seed=1)
    loop = ActingAndCollecting(policy, rollout_steps=2)
    rollout = None
    for timesteps in (
        timesteps_of(WALKER, [(1, FIRST)]),
        grouped(timesteps_of(WALKER, [(1, MID, 1.0)]), [3], [10.0]),
        grouped(timesteps_of(WALKER, [(1, TERMINATED, 2.0), (1, FIRST)]), [3, 3], [20.0, 0.0]),
    ):
        slot = np.zeros(len(timesteps), np.int64)
        rollout = loop.observe(SlotTimesteps(slot, timesteps, NO_SLOTS, 1))
        loop.act()
    assert rollout is not None
    assert rollout.reward.ravel().tolist() == [11.0, 22.0]
    assert loop.episodes.statistics.last_mean == 33.0
