"""What a Hello must say, and the words for one that does not."""

from typing import Any

import pytest

from entrain.errors import BadHelloError, LimitError, RefusedHelloError
from entrain.native.hello import read_hello
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.wire import trainer_pb2 as pb


def hello(spec: BehaviourSpec, **fields: Any) -> pb.Hello:
    usual: dict[str, Any] = {
        "min_version": 1,
        "max_version": 1,
        "simulator": "walker-sim",
        "instance_id": "process-1",
        "behaviours": [encode_spec(spec)],
    }
    return pb.Hello(**{**usual, **fields})


def test_a_sound_hello_is_read_whole(walker: BehaviourSpec) -> None:
    parsed = read_hello(
        hello(walker, max_agents=5, resume_session_id="abc"), "10.0.0.7", max_behaviours=100
    )
    assert parsed.join.who == "walker-sim@10.0.0.7"
    assert parsed.join.simulator == "walker-sim"
    assert parsed.join.instance_id == "process-1"
    assert parsed.join.specs == (walker,)
    assert parsed.join.max_agents == 5
    assert parsed.resume_session_id == "abc"


def test_a_simulator_that_speaks_newer_versions_too_is_welcome(walker: BehaviourSpec) -> None:
    assert read_hello(
        hello(walker, min_version=0, max_version=9), "host", max_behaviours=100
    ).join.simulator


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0, 0, "speaks protocol 0, this trainer speaks 1; install entrain-envs 1.x in the sim"),
        (2, 3, "speaks protocols 2 to 3, this trainer speaks 1; upgrade entrain, the trainer's"),
        (5, 0, "its Hello must give min_version no higher than max_version"),
    ],
)
def test_versions_that_do_not_meet_are_refused_with_the_package_to_upgrade(
    walker: BehaviourSpec, low: int, high: int, words: str
) -> None:
    with pytest.raises(RefusedHelloError, match=rf"walker-sim@10.0.0.7 .*{words}"):
        read_hello(hello(walker, min_version=low, max_version=high), "10.0.0.7", max_behaviours=100)


@pytest.mark.parametrize("field", ["simulator", "instance_id"])
@pytest.mark.parametrize("value", ["", "two\nlines", "x" * 201])
def test_a_name_that_cannot_stand_in_a_log_is_refused(
    walker: BehaviourSpec, field: str, value: str
) -> None:
    with pytest.raises(BadHelloError, match=rf"whose {field} is '.*'; expected 1 to 200 printable"):
        read_hello(hello(walker, **{field: value}), "host", max_behaviours=100)


def test_a_spec_that_contradicts_itself_is_refused(walker: BehaviourSpec) -> None:
    broken = encode_spec(walker)
    broken.action.low[0] = 5.0
    with pytest.raises(BadHelloError, match=r"walker-sim@host declares a behaviour that cannot be"):
        read_hello(hello(walker, behaviours=[broken]), "host", max_behaviours=100)


def test_more_behaviours_than_a_run_may_have_are_refused_before_they_are_read(
    walker: BehaviourSpec,
) -> None:
    broken = encode_spec(walker)
    broken.ClearField("observations")
    with pytest.raises(LimitError, match=r"declares 3 behaviours, and this trainer allows 2 "):
        read_hello(hello(walker, behaviours=[broken] * 3), "host", max_behaviours=2)


@pytest.mark.parametrize("name", ["n" * 201, "line\nbreak"])
def test_names_that_are_too_long_or_cannot_be_printed_are_refused(
    walker: BehaviourSpec, name: str
) -> None:
    of_behaviour = encode_spec(walker)
    of_behaviour.name = name
    of_observation = encode_spec(walker)
    of_observation.observations[0].name = name
    for spec in (of_behaviour, of_observation):
        with pytest.raises(BadHelloError, match="at most 200 printable characters in each name"):
            read_hello(hello(walker, behaviours=[spec]), "host", max_behaviours=2)


def test_more_observations_or_branches_than_any_network_is_made_for_are_refused(
    walker: BehaviourSpec,
) -> None:
    many = encode_spec(walker)
    many.observations.extend([many.observations[0]] * 1000)
    branched = encode_spec(walker)
    branched.action.branches.extend([2] * 1001)
    for spec, words in ((many, "1,001 observations"), (branched, "1,001 branches")):
        with pytest.raises(BadHelloError, match=f"{words}.*; expected at most 1,000"):
            read_hello(hello(walker, behaviours=[spec]), "host", max_behaviours=2)


def test_a_simulator_says_whether_it_is_for_evaluations(walker: BehaviourSpec) -> None:
    assert not read_hello(hello(walker), "host", max_behaviours=1).is_for_evaluation
    judge = hello(walker, role=pb.ROLE_EVALUATION)
    assert read_hello(judge, "host", max_behaviours=1).is_for_evaluation


def test_a_role_of_a_later_version_is_refused(walker: BehaviourSpec) -> None:
    unknown = pb.Hello.FromString(hello(walker).SerializeToString() + b"\x48\x07")
    with pytest.raises(RefusedHelloError, match=r"asks for role 7, and this trainer knows 0"):
        read_hello(unknown, "host", max_behaviours=1)
