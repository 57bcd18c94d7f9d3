"""Which rank a process is, and which part of a configuration is its own."""

from pathlib import Path

import pytest

from entrain.app.launch_plan import plan
from entrain.app.rank_place import RankPlace, address_of_rank, config_of_rank, place_of_process
from entrain.config.evaluation import StopAtConfig
from entrain.config.launch import LaunchConfig
from entrain.config.run import RunConfig, ServerConfig, SimulatorsConfig
from entrain.config.unity import UnityConfig
from entrain.errors import ConfigError

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29400"}


def test_a_process_that_torchrun_did_not_start_learns_alone() -> None:
    assert place_of_process({}) is None
    assert place_of_process({**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"}) is None


def test_a_rank_is_what_torchrun_says() -> None:
    assert place_of_process(TORCHRUN) == RankPlace(1, 2, "10.0.0.1")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RANK": ""}, "WORLD_SIZE is 2, and RANK is not set; start it with torchrun"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR is not set"),
        ({"RANK": "2"}, "RANK is '2' and WORLD_SIZE '2'; expected 0 <= RANK < WORLD_SIZE"),
        ({"RANK": "one"}, "RANK is 'one'"),
    ],
)
def test_what_is_set_in_part_or_wrongly_is_named(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        place_of_process({**TORCHRUN, **changes})


def test_each_rank_listens_on_the_port_plus_its_rank() -> None:
    assert address_of_rank("localhost:50051", 0) == "localhost:50051"
    assert address_of_rank("localhost:50051", 3) == "localhost:50054"
    assert address_of_rank("[::1]:50051", 1) == "[::1]:50052"
    assert address_of_rank("localhost:0", 1) == "localhost:0"
    assert address_of_rank("unix:/tmp/entrain.sock", 1) == "unix:/tmp/entrain.sock.1"
    with pytest.raises(ConfigError, match="rank 1 would listen on port 65536"):
        address_of_rank("localhost:65535", 1)


def test_ports_for_websocket_are_those_of_the_rank_and_of_no_other() -> None:
    server = ServerConfig(address="localhost:50051", websocket="localhost:50152")
    config = RunConfig(server=server, simulators=SimulatorsConfig(expect=4))
    assert config_of_rank(config, RankPlace(2, 4)).server.websocket == "localhost:50154"
    near = server.model_copy(update={"websocket": "localhost:50052"})
    with pytest.raises(ConfigError, match="let the two be 4 apart, such as port 51051"):
        config_of_rank(config.model_copy(update={"server": near}), RankPlace(0, 4))


def test_launched_simulators_are_divided_and_keep_their_numbers() -> None:
    launch = LaunchConfig(command="sim {index}", count=5)
    config = RunConfig(simulators=SimulatorsConfig(launch=(launch,)))
    names = []
    for rank in range(2):
        place = RankPlace(rank, 2)
        own = config_of_rank(config, place)
        planned = plan(
            own.simulators.launch,
            address="localhost:1",
            logs=Path("logs"),
            indices=place.indices,
        )
        names.append([simulator.name for simulator in planned])
        assert own.expected_simulators == len(planned)
    assert names == [["simulator-0", "simulator-2", "simulator-4"], ["simulator-1", "simulator-3"]]


def test_expected_simulators_are_divided() -> None:
    config = RunConfig(simulators=SimulatorsConfig(expect=5))
    found = [config_of_rank(config, RankPlace(rank, 3)).simulators.expect for rank in range(3)]
    assert found == [2, 2, 1]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            RunConfig(simulators=SimulatorsConfig(launch=(LaunchConfig(command="sim"),))),
            "simulators.launch starts 1 copies, which are divided over 2 ranks",
        ),
        (RunConfig(simulators=SimulatorsConfig(expect=1)), "some rank would expect none"),
        (RunConfig(unity=UnityConfig()), "unity: games of ML-Agents take part in runs of one rank"),
    ],
    ids=["launched", "expected", "games"],
)
def test_a_run_that_some_rank_has_no_part_of_is_refused(config: RunConfig, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_of_rank(config, RankPlace(1, 2))


def test_a_goal_is_for_runs_of_one_rank() -> None:
    goal = StopAtConfig.model_validate({"return": 475})
    config = RunConfig(simulators=SimulatorsConfig(expect=4), stop_at=goal)
    with pytest.raises(ConfigError, match=r"stop_at is for runs of one rank, and this one has 2"):
        config_of_rank(config, RankPlace(0, 2))
    assert config_of_rank(config, RankPlace(0, 1)) == config


def test_only_the_first_rank_has_a_page() -> None:
    config = RunConfig(server=ServerConfig(address="localhost:6000"))
    config = config.model_copy(
        update={"http": config.http.model_copy(update={"address": "localhost:8080"})}
    )
    assert config_of_rank(config, RankPlace(0, 2)).http.address == "localhost:8080"
    assert config_of_rank(config, RankPlace(1, 2)).http.address is None
