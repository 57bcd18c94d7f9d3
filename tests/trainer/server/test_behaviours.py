"""One spec for all simulators of a run, and clear words for those that differ."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from entrain.config import ServerConfig
from entrain.errors import BadHelloError, CheckpointError, RefusedHelloError
from entrain.server.behaviours import Behaviours, no_rows
from entrain_envs.spec import BehaviourSpec, ObservationSpec

Make = Callable[..., Any]


def behaviours(accepts: Callable[[str], bool] = lambda _: True) -> Behaviours:
    return Behaviours(ServerConfig(), accepts=accepts, policies=("walker", "bird"))


def test_a_second_simulator_with_the_same_spec_shares_the_behaviour(walker: BehaviourSpec) -> None:
    known = behaviours()
    known.check(walker, who="left")
    assert known.admit(walker) is known.admit(replace(walker))
    known.check(replace(walker), who="right")


def test_another_spec_of_a_known_name_is_refused_with_both_side_by_side(
    walker: BehaviourSpec,
) -> None:
    known = behaviours()
    known.admit(walker)
    other = replace(walker, observations=(ObservationSpec("eyes", (3,)),))
    with pytest.raises(RefusedHelloError) as refusal:
        known.check(other, who="walker-sim@10.0.0.7")
    lines = str(refusal.value).splitlines()
    assert lines[1] == (
        "  this run: 'walker' observes (eyes: float32[2]), acts with 1 continuous in [-1, 1]"
    )
    assert lines[2] == (
        "  walker-sim@10.0.0.7: 'walker' observes (eyes: float32[3]), "
        "acts with 1 continuous in [-1, 1]"
    )
    assert "use the same build" in lines[3]


def test_a_behaviour_without_a_policy_is_refused_and_those_with_one_are_listed(
    walker: BehaviourSpec,
) -> None:
    known = behaviours(lambda name: name == "bird")
    with pytest.raises(BadHelloError, match=r"'walker', and this run .* has: 'walker', 'bird'"):
        known.check(walker, who="sim")
    assert list(known) == []


async def test_behaviours_appear_as_they_are_first_seen(
    walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    known = behaviours()
    known.admit(walker)
    known.admit(bird)
    known.admit(walker)
    known.close()
    assert [behaviour.name async for behaviour in known.opened()] == ["walker", "bird"]


async def test_restored_behaviours_appear_too(walker: BehaviourSpec, bird: BehaviourSpec) -> None:
    known = behaviours()
    known.admit(bird)
    known.admit(walker).slots.assign("session", no_rows(walker).agent_id)
    restored = behaviours()
    restored.load_state(known.state())
    restored.close()
    assert [behaviour.spec async for behaviour in restored.opened()] == [bird, walker]


def test_a_checkpoint_with_a_behaviour_that_has_no_policy_any_more_is_refused(
    walker: BehaviourSpec,
) -> None:
    known = behaviours()
    known.admit(walker)
    with pytest.raises(CheckpointError, match=r"has behaviour 'walker', and the configuration has"):
        behaviours(lambda name: name == "bird").load_state(known.state())


def test_no_rows_fit_the_spec(walker: BehaviourSpec, bird: BehaviourSpec) -> None:
    for spec in (walker, bird):
        no_rows(spec).check(spec)
        assert len(no_rows(spec)) == 0
