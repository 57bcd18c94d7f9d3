"""What a run is built of: where it listens, in words for people, and networks beyond all memory."""

import logging

import pytest

from entrain.app.build import listened_on, make_front, warn_of_too_few_steps, within_memory
from entrain.config.load import given_config
from entrain.config.policy import MemoryConfig, NetworkConfig, PolicyConfig
from entrain.config.run import RunConfig, ServerConfig
from entrain.config.unity import UnityConfig
from entrain.errors import ConfigError
from entrain.policy.actor_critic import ActorCritic
from entrain.serving.behaviours import Behaviours
from entrain.serving.participants import Participants
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

SPEC = BehaviourSpec("ball", (ObservationSpec("seen", (4,)),), ActionSpec((-1.0,), (1.0,)))


@pytest.mark.parametrize(
    ("address", "to_dial", "listened"),
    [
        ("localhost:0", "localhost:4711", "localhost:4711"),
        ("0.0.0.0:50089", "localhost:50089", "0.0.0.0:50089"),
        ("[::]:0", "localhost:4711", "[::]:4711"),
        ("[::1]:50051", "[::1]:50051", "[::1]:50051"),
        ("unix:/tmp/s", "unix:/tmp/s", "unix:/tmp/s"),
    ],
)
def test_people_are_told_where_the_server_listens_not_what_simulators_here_dial(
    address: str, to_dial: str, listened: str
) -> None:
    config = RunConfig(server=ServerConfig(address=address, insecure=True))
    assert listened_on(config, to_dial) == listened


@pytest.mark.parametrize(
    ("address", "native", "warns"),
    [
        ("localhost:50161", False, True),
        ("localhost:50161", True, False),
        (ServerConfig().address, False, False),
    ],
)
async def test_an_address_that_nothing_listens_on_is_warned_of(
    address: str, native: bool, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    config = RunConfig(server=ServerConfig(address=address), unity=UnityConfig(native=native))
    participants = Participants(
        config.server,
        Behaviours(config.server, accepts=lambda _: True, policies=("*",), on_new=lambda _: None),
        seed=1,
        expect=1,
        environment_parameters={},
    )
    make_front(config, participants, run_id="run")
    assert ("server.address localhost:50161 has no effect" in caplog.text) is warns


@pytest.mark.parametrize(
    ("network", "named"),
    [
        # So large that the first allocation is refused on any machine.
        (NetworkConfig(hidden_sizes=(10**15, 8)), "hidden_sizes [1000000000000000, 8] make more"),
        (NetworkConfig(hidden_sizes=(2**62,)), "more weights than fit into memory"),
        (
            NetworkConfig(hidden_sizes=(8,), memory=MemoryConfig(kind="lstm", size=10**15)),
            "hidden_sizes [8] and network.memory.size 1000000000000000 make",
        ),
    ],
    ids=["beyond memory", "beyond addresses", "recurrent"],
)
def test_a_network_beyond_all_memory_is_told_by_its_sizes(
    network: NetworkConfig, named: str
) -> None:
    options = PolicyConfig(network=network)
    with pytest.raises(ConfigError, match="choose smaller sizes") as raised, within_memory(options):
        ActorCritic(SPEC, options, seed=0)
    assert named in str(raised.value)


def test_other_errors_of_a_network_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied"), within_memory(PolicyConfig()):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.parametrize(("total_steps", "warns"), [(63, 1), (1000, 1), (1001, 0)])
def test_a_policy_that_is_done_before_its_replay_teaches_is_warned_of(
    total_steps: int, warns: int, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"total_steps": total_steps, "algorithm": {"kind": "soft_q"}}
    config = given_config({"policies": {"ball": options}}, [])
    warn_of_too_few_steps(config.policies["ball"], "ball")
    assert caplog.text.count("'ball' will not learn: it is done after total_steps") == warns
    assert ("learning_starts 1,000" in caplog.text) == (total_steps == 1000)
