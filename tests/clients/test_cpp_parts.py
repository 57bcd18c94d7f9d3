"""Parts of the C++ client, each by itself: a socket that is full, actions, waits, what it gives."""

import math
import struct
from pathlib import Path

import pytest

from entrain_envs.wire import trainer_pb2 as pb
from support.cpp_probe import answers
from support.cpp_words import dotted, hello_lines, vectors

BROKEN, CLOSED = 1, 3


@pytest.mark.parametrize(
    ("how", "ended"),
    [
        ("close", f"{CLOSED} 4014"),
        ("cut", f"{BROKEN} 1005"),
        ("fault", f"{BROKEN} 1003"),
    ],
)
def test_a_connection_may_end_while_a_step_waits_to_be_sent(
    cpp_probe: Path, how: str, ended: str
) -> None:
    assert answers(cpp_probe, [f"ends {how}"]) == [ended]


def lines_of(*specs: pb.BehaviourSpec) -> list[str]:
    return [line for line in hello_lines(pb.Hello(behaviours=specs)) if line != "end"]


def test_actions_that_do_not_fit_are_refused(cpp_probe: Path) -> None:
    specs = next(
        pb.ConnectRequest.FromString(bytes.fromhex(vector["bytes"])).hello.behaviours
        for vector in vectors("from_simulator")
        if vector["name"] == "hello-every-field"
    )
    acts = [vector for vector in vectors("refused") if vector["message"] == "ConnectResponse"]
    lines = [f"take {each['rows_that_need_an_action']} .{each['bytes']}" for each in acts]
    said = answers(cpp_probe, [*lines_of(*specs), *lines])
    assert [each["name"] for each, words in zip(acts, said, strict=True) if words == "taken"] == []
    assert len(acts) >= 4


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ((0, 0, 2, 1), "taken"),
        ((0, 0, 3, 1), "have choice 3 of branch 0 for agent 7, which is not one of 0 to 2"),
        ((0, 2, 0, 0), "have choice 2 of branch 1 for agent 7, which is not one of 0 to 1"),
        ((0, 0, 0, -1), "have choice -1 of branch 1 for agent 7, which is not one of 0 to 1"),
    ],
)
def test_a_choice_is_one_of_its_branch(
    cpp_probe: Path, choices: tuple[int, ...], said: str
) -> None:
    spec = pb.BehaviourSpec(name="gunner", action=pb.ActionSpec(branches=[3, 2]))
    act = pb.Act(sequence=1)
    act.behaviours.add(behaviour="gunner", discrete=struct.pack("<4i", *choices))
    content = pb.ConnectResponse(act=act).SerializeToString()
    assert answers(cpp_probe, [*lines_of(spec), f"take 2 {dotted(content)}"]) == [said]


def test_a_fallback_takes_the_first_choice_where_a_row_forbids_all(cpp_probe: Path) -> None:
    assert answers(cpp_probe, ["forbids"]) == ["1 0"]


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(0.0, 1), (0.25, 251), (-5.0, 0), (1e30, 10**9), (math.inf, 10**9), (-1e30, 0)],
)
def test_a_wait_of_any_length_is_one_that_a_system_takes(
    cpp_probe: Path, seconds: float, milliseconds: int
) -> None:
    assert answers(cpp_probe, [f"milliseconds {seconds}"]) == [str(milliseconds)]


def test_rows_and_actions_stay_where_they_are_when_behaviours_come(cpp_probe: Path) -> None:
    assert answers(cpp_probe, ["stays"]) == ["yes"]
