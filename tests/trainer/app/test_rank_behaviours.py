"""What one rank knows of the behaviours of all, by what it says to rank 0 and is answered."""

import asyncio
import json
import math
from typing import Any

import pytest

from entrain.app.rank_behaviours import RankBehaviours
from entrain.app.rank_link import RankLink
from entrain.app.rank_place import RankPlace
from entrain.errors import ConfigError
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec


def walker(size: int) -> BehaviourSpec:
    action = ActionSpec((-1.0, -math.inf), (1.0, math.inf), branches=(2,))
    return BehaviourSpec("walker", (ObservationSpec("legs", (size,)),), action)


class Link(RankLink):
    """Notes what is said."""

    def __init__(self) -> None:
        super().__init__(RankPlace(1, 2))
        self.said: list[tuple[str, Any]] = []

    def say(self, kind: str, /, blob: bytes = b"", **fields: Any) -> None:
        del blob
        self.said.append((kind, fields))


def of(spec: BehaviourSpec, **fields: Any) -> dict[str, Any]:
    """As it arrives."""
    return {"spec": json.loads(json.dumps(spec.state())), **fields}


async def begun(behaviours: RankBehaviours, spec: BehaviourSpec) -> asyncio.Task[int]:
    """A claim that waits for rank 0's answer."""
    claim = asyncio.create_task(behaviours.claim(spec))
    await asyncio.sleep(0)
    return claim


async def test_a_refused_behaviour_is_unknown_and_may_be_claimed_again() -> None:
    link = Link()
    behaviours = RankBehaviours(link)
    claim = await begun(behaviours, walker(9))
    behaviours.note_refused(of(walker(9), reason="too large"))
    with pytest.raises(ConfigError, match="too large"):
        await claim
    assert behaviours.numbers == behaviours.state() == {}
    claim = await begun(behaviours, walker(2))
    assert link.said == [("claim", of(walker(9))), ("claim", of(walker(2)))]
    behaviours.note(of(walker(2), number=3))
    assert await claim == 3
    assert behaviours.state() == {"3": walker(2).state()}


async def test_a_refusal_answers_the_claim_of_that_spec_alone() -> None:
    behaviours = RankBehaviours(Link())
    # Its simulator leaves, and one of another build comes before rank 0 has answered.
    (await begun(behaviours, walker(9))).cancel()
    claim = await begun(behaviours, walker(2))
    behaviours.note_refused(of(walker(9), reason="too large"))
    behaviours.note_refused(of(walker(9), reason="too large"))
    behaviours.note(of(walker(2), number=0))
    assert await claim == 0


async def test_one_that_another_rank_has_brought_with_another_spec_is_refused() -> None:
    behaviours = RankBehaviours(Link())
    claim = await begun(behaviours, walker(9))
    behaviours.note(of(walker(2), number=0))
    with pytest.raises(ConfigError, match=r"with another spec: observation .*legs"):
        await claim
    assert behaviours.state() == {"0": walker(2).state()}
