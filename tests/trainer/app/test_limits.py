"""What is said to limit a run, and which options are said to change that."""

import re

import pytest

from entrain.app.limits import find_limit, round_words
from entrain.config.algorithm import PPOConfig
from entrain.config.launch import LaunchConfig
from entrain.config.load import load_config
from entrain.config.policy import MemoryConfig, NetworkConfig, PolicyConfig
from entrain.config.run import RunConfig, ServerConfig, SimulatorsConfig
from entrain.config.unity import UnityConfig
from entrain.run.round_shares import RoundShares

PARTS = ("waiting", "acting", "recording", "messages", "updates", "other")


def shares(**parts: float) -> RoundShares:
    return RoundShares(**{**dict.fromkeys(PARTS, 0.0), **parts})


WAITS = shares(waiting=0.7, updates=0.3)
LEARNS = shares(waiting=0.3, updates=0.7)
ACTS = shares(acting=0.4, recording=0.2, messages=0.1, waiting=0.3)


def launching(count: int, *, lockstep: bool = False) -> RunConfig:
    launch = LaunchConfig(command="sim", count=count)
    return RunConfig(
        simulators=SimulatorsConfig(launch=(launch,)), server=ServerConfig(lockstep=lockstep)
    )


def learning(policy: PolicyConfig) -> RunConfig:
    return RunConfig(policies={"walker": policy})


def ways(config: RunConfig, part: RoundShares) -> str:
    return "\n".join(find_limit(config, {"walker": part}).ways)


def test_simulators_that_the_run_launches_are_added_by_their_count() -> None:
    finding = find_limit(launching(2), {"walker": WAITS})
    assert finding.sentence == (
        "simulators are the limit: the trainer waits for them 70% of the time"
    )
    assert finding.ways[0] == ("raise simulators.launch.0.count (now 2), while processors are free")


def test_simulators_of_others_are_added_by_them() -> None:
    assert find_limit(RunConfig(), {"walker": WAITS}).ways[0].startswith("start more simulators")


def test_games_are_added_by_their_number_or_run_faster() -> None:
    found = ways(RunConfig(unity=UnityConfig(games=3)), WAITS)
    assert "raise unity.games (now 3) and start as many" in found
    assert "unity.engine.time_scale (now 20), --time-scale of entrain learn" in found
    assert "--count" not in found
    # The Editor has one game, however many are asked for.
    launched = UnityConfig.model_validate({"games": 2, "launch": {"path": "Ball"}})
    assert "raise unity.games (now 2), --num-envs of entrain learn, while" in ways(
        RunConfig(unity=launched), WAITS
    )


def test_lockstep_of_several_simulators_is_named() -> None:
    assert "server.lockstep" in ways(launching(2, lockstep=True), WAITS)
    assert "server.lockstep" not in ways(launching(1, lockstep=True), WAITS)


def test_updates_that_are_waited_for_may_run_beside() -> None:
    finding = find_limit(learning(PolicyConfig()), {"walker": LEARNS})
    assert finding.sentence == "updates are the limit: simulators wait for them 70% of the time"
    # 1 / 0.7
    assert finding.ways[0] == (
        "set policies.walker.policy_lag to 1: the next rollout is collected during the update "
        "(at most 1.4 x as fast)"
    )
    assert finding.ways[1] == "raise policies.walker.algorithm.minibatch_size (now 64)"
    assert finding.ways[2] == "lower policies.walker.algorithm.num_epochs (now 10)"


def test_what_is_done_already_is_not_proposed() -> None:
    found = ways(
        learning(
            PolicyConfig(
                policy_lag=1,
                rollout_steps=64,
                algorithm=PPOConfig(num_epochs=1, minibatch_size=64),
                network=NetworkConfig(memory=MemoryConfig(kind="lstm"), shared=True),
            )
        ),
        LEARNS,
    )
    assert "policies." not in found


def test_slower_ways_to_learn_are_named_where_they_are_chosen() -> None:
    found = ways(
        learning(
            PolicyConfig(
                algorithm=PPOConfig(update="torch"),
                network=NetworkConfig(memory=MemoryConfig(kind="gru")),
            )
        ),
        LEARNS,
    )
    assert "set policies.walker.algorithm.update to auto" in found
    assert "set policies.walker.network.shared to true" in found


def test_acting_is_made_cheaper_by_larger_batches_and_smaller_networks() -> None:
    finding = find_limit(learning(PolicyConfig()), {"walker": ACTS})
    assert finding.sentence == (
        "acting is the limit: serving batches takes the trainer 70% of the time"
    )
    assert finding.ways[0].startswith("put more agents into each simulator")
    assert "policies.walker.network.hidden_sizes (now [64, 64])" in finding.ways[1]


def test_large_messages_are_made_smaller() -> None:
    found = ways(learning(PolicyConfig()), shares(messages=0.6, waiting=0.4))
    assert "images as uint8" in found
    assert "hidden_sizes" not in found


def test_what_is_beside_simulators_and_updates_is_named() -> None:
    finding = find_limit(learning(PolicyConfig()), {"walker": shares(other=0.6, waiting=0.4)})
    assert finding.words == "neither simulators nor updates are the limit"
    assert "raise checkpoints.every_steps (now 100,000)" in finding.ways
    assert "raise policies.walker.rollout_steps (now 2,048)" in finding.ways


@pytest.mark.parametrize(
    ("part", "second"),
    [
        (shares(waiting=0.45, updates=0.4, acting=0.15), "start more simulators"),
        (shares(waiting=0.4, updates=0.45, acting=0.15), "raise policies.walker.algorithm"),
        (shares(waiting=0.3, updates=0.25, acting=0.45), "put more agents"),
    ],
)
def test_where_nothing_takes_half_all_go_on_at_once_or_the_largest_gives_way(
    part: RoundShares, second: str
) -> None:
    finding = find_limit(learning(PolicyConfig()), {"walker": part})
    assert finding.words == "nothing is the limit alone"
    assert finding.ways[0].startswith("set policies.walker.policy_lag to 1")
    assert finding.ways[1].startswith(second)
    assert len(set(finding.ways)) == len(finding.ways)


def test_of_several_policies_the_one_whose_updates_take_most_is_named() -> None:
    config = RunConfig(policies={"walker": PolicyConfig(), "*": PolicyConfig()})
    finding = find_limit(
        config,
        {"walker": shares(waiting=0.9, updates=0.1), "ball": shares(waiting=0.5, updates=0.5)},
    )
    assert finding.limit == "updates"
    assert finding.ways[0].startswith("set policies.*.policy_lag")


def test_behaviours_without_options_are_told_what_needs_none() -> None:
    finding = find_limit(learning(PolicyConfig()), {"stranger": LEARNS})
    assert finding.ways == (
        "set device to cuda, or raise update_threads, if networks are large or see images",
    )


def test_every_option_that_is_named_can_be_set_so() -> None:
    memory = NetworkConfig(memory=MemoryConfig(kind="lstm"))
    policy = PolicyConfig(network=memory, algorithm=PPOConfig(update="torch"))
    config = RunConfig(
        policies={"*": policy},
        simulators=SimulatorsConfig(launch=(LaunchConfig(command="sim"),)),
        unity=UnityConfig(),
        server=ServerConfig(lockstep=True),
    )
    parts = [WAITS, LEARNS, ACTS, shares(other=1.0)]
    found = "\n".join(ways(config, part) for part in parts)
    named = re.findall(r"(\S+) \(now ([^)]+)\)", found) + re.findall(r"set (\S+) to (\w+)", found)
    assert len(named) == 14
    settings = [
        f"{path}={value.replace(',', '') if value[0] != '[' else value}" for path, value in named
    ]
    load_config(None, ["simulators.launch=[{command: sim}]", *settings])


def test_a_display_is_told_in_few_words() -> None:
    words = round_words(launching(2), {"walker": WAITS})
    assert words.shares == (
        "simulators 70%, acting 0%, recording 0%, messages 0%, updates 30%, other 0%"
    )
    assert words.sentence == (
        "simulators are the limit: raise simulators.launch.0.count (now 2), while processors are "
        "free"
    )


def test_an_algorithm_with_a_replay_has_remedies_of_its_own() -> None:
    options = PolicyConfig.model_validate({"algorithm": {"kind": "soft_q"}})
    ways = find_limit(learning(options), {"walker": LEARNS}).ways
    assert "lower policies.walker.algorithm.updates_per_step (now 1)" in ways
    assert "lower policies.walker.algorithm.batch_size (now 256)" in ways
    assert not any("num_epochs" in way or "minibatch_size" in way for way in ways)
