"""One spec for all simulators of a run, and clear words for those that differ."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from entrain.config.run import ServerConfig
from entrain.errors import (
    BadHelloError,
    CheckpointError,
    ConfigError,
    LimitError,
    RefusedHelloError,
)
from entrain.serving.behaviours import Behaviour, Behaviours, Opener, no_rows, open_nothing
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

Make = Callable[..., Any]


def behaviours(
    accepts: Callable[[str], bool] = lambda _: True,
    on_new: Opener = open_nothing,
) -> Behaviours:
    return Behaviours(ServerConfig(), accepts=accepts, policies=("walker", "bird"), on_new=on_new)


def admit(known: Behaviours, *specs: BehaviourSpec) -> Sequence[Behaviour]:
    return known.admit(specs, who="sim")


def test_a_second_simulator_with_the_same_spec_shares_the_behaviour(walker: BehaviourSpec) -> None:
    known = behaviours()
    known.check(walker, who="left")
    assert admit(known, walker) == admit(known, replace(walker))
    known.check(replace(walker), who="right")


def test_another_spec_of_a_known_name_is_refused_with_what_differs(
    walker: BehaviourSpec,
) -> None:
    known = behaviours()
    admit(known, walker)
    other = replace(walker, observations=(ObservationSpec("eyes", (3,)),))
    with pytest.raises(RefusedHelloError) as refusal:
        known.check(other, who="walker-sim@10.0.0.7")
    words = str(refusal.value)
    assert words.startswith(
        "walker-sim@10.0.0.7 declares behaviour 'walker' otherwise than this run knows it: "
        "observation 'eyes' is float32[3] and was float32[2]; use the same build"
    )
    assert "\n" not in words


def test_a_behaviour_without_a_policy_is_refused_with_what_its_command_says(
    walker: BehaviourSpec,
) -> None:
    known = Behaviours(
        ServerConfig(),
        accepts=lambda _: False,
        policies=("bird",),
        remedy=lambda name: f"add behaviors.{name} to stock.yaml",
    )
    with pytest.raises(BadHelloError) as refusal:
        known.check(walker, who="game-0")
    assert str(refusal.value) == (
        "game-0 has behaviour 'walker', and this run has no policy for it (it has: 'bird'); "
        "rename the behaviour, or add behaviors.walker to stock.yaml"
    )


def test_a_run_takes_so_many_behaviours_and_no_more(
    walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    known = Behaviours(ServerConfig(max_behaviours=1), accepts=lambda _: True, policies=("*",))
    known.check_count([walker], who="sim")
    known.admit([walker], who="sim")
    known.check_count([walker], who="sim")
    with pytest.raises(LimitError, match="1 new behaviours where this run has 1 of the 1 that"):
        known.check_count([walker, bird], who="sim")


async def test_new_behaviours_are_prepared_one_after_the_other_and_known_ones_not_at_all(
    walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    prepared: list[str] = []

    @asynccontextmanager
    async def prepare(specs: Sequence[BehaviourSpec]) -> AsyncIterator[None]:
        prepared.extend(spec.name for spec in specs)
        await asyncio.sleep(0)
        yield

    known = Behaviours(ServerConfig(), accepts=lambda _: True, policies=("*",), prepare=prepare)

    async def join(*specs: BehaviourSpec) -> None:
        async with known.preparing(specs):
            known.admit(specs, who="sim")

    await asyncio.gather(join(walker), join(walker, bird), join(walker))
    assert prepared == ["walker", "bird"]


def test_a_behaviour_without_a_policy_is_refused_and_those_with_one_are_listed(
    walker: BehaviourSpec,
) -> None:
    known = behaviours(lambda name: name == "bird")
    with pytest.raises(BadHelloError, match=r"'walker', and this run .* has: 'walker', 'bird'"):
        known.check(walker, who="sim")
    assert list(known) == []


def test_the_run_gets_ready_for_new_behaviours_only(
    walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    asked: list[list[str]] = []
    known = behaviours(on_new=lambda new: asked.append([behaviour.name for behaviour in new]))
    admit(known, walker)
    admit(known, walker)
    both = admit(known, walker, bird)
    assert asked == [["walker"], ["bird"]]
    assert list(both) == list(known) == [known["walker"], known["bird"]]


def test_the_run_is_given_the_behaviour_that_is_served(walker: BehaviourSpec) -> None:
    given: list[Behaviour] = []
    known = behaviours(on_new=given.extend)
    assert given == list(admit(known, walker))


def test_behaviours_that_the_run_cannot_serve_are_refused_in_its_words(
    walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    def on_new(_behaviours: Sequence[Behaviour]) -> None:
        raise ConfigError("behaviour 'walker': 10 x 10 is too small")

    words = r"walker-sim@10\.0\.0\.7 cannot be given a policy: behaviour 'walker': 10 x 10 is too"
    known = behaviours(on_new=on_new)
    with pytest.raises(BadHelloError, match=words):
        known.admit((bird, walker), who="walker-sim@10.0.0.7")
    assert list(known) == []


def test_the_run_gets_ready_for_the_behaviours_of_a_checkpoint(
    walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    known = behaviours()
    admit(known, bird)
    admit(known, walker)[0].slots.assign("owner", np.array([7, 8]))
    given: list[Behaviour] = []
    restored = behaviours(on_new=given.extend)
    restored.load_state(known.state())
    assert [behaviour.spec for behaviour in given] == [bird, walker]
    assert given == list(restored)
    assert [behaviour.slots.num_agents for behaviour in given] == [0, 2]


async def test_after_close_no_behaviour_hands_out_batches_not_even_a_new_one(
    walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    known = behaviours()
    admit(known, walker)
    known.close()
    for behaviour in admit(known, walker, bird):
        assert [batch async for batch in behaviour.batcher] == []


def test_a_checkpoint_with_a_behaviour_that_has_no_policy_any_more_is_refused(
    walker: BehaviourSpec,
) -> None:
    known = behaviours()
    admit(known, walker)
    with pytest.raises(CheckpointError, match=r"has behaviour 'walker', and the configuration has"):
        behaviours(lambda name: name == "bird").load_state(known.state())


LARGE = [
    (
        ObservationSpec("camera", (4_000_000_000, 4_000_000_000)),
        ActionSpec(branches=(2,)),
        # 4e9 * 4e9 * 4, and 13 + 2 more in the row.
        r"one row has 64,000,000,000,000,000,015 bytes \(64,000,000,000,000,000,000: observation "
        r"'camera', float32\[4000000000, 4000000000\]\)",
    ),
    (
        ObservationSpec("camera", (2_000_000_000,), "uint8"),
        ActionSpec(branches=(2,)),
        r"2,000,000,000: observation 'camera', uint8\[2000000000\]",
    ),
    (
        ObservationSpec("camera", (3,)),
        ActionSpec(branches=(4_000_000_000, 2)),
        r"4,000,000,002: the action mask",
    ),
    (
        ObservationSpec("camera", ()),
        # One row takes 13 + 4 + 300,000 bytes, an action 1,200,000.
        ActionSpec(branches=(1,) * 300_000),
        r"one row of actions has 1,200,000 bytes",
    ),
]


@pytest.mark.parametrize(("observation", "action", "words"), LARGE)
def test_a_behaviour_whose_row_no_message_can_hold_is_refused(
    observation: ObservationSpec, action: ActionSpec, words: str
) -> None:
    known = Behaviours(ServerConfig(max_message_mib=1.0), accepts=lambda _: True, policies=())
    with pytest.raises(
        BadHelloError,
        match=rf"sim declares behaviour 'bird', of which .*{words}.* messages of up to 1,048,576 "
        r"bytes; make .* smaller, or raise server.max_message_mib",
    ):
        known.check(BehaviourSpec("bird", (observation,), action), who="sim")


def test_a_behaviour_whose_row_just_fits_is_welcome() -> None:
    # 13 bytes of every row, 985 of the camera, and two choices.
    limit = ServerConfig(max_message_mib=1000 / 2**20)
    known = Behaviours(limit, accepts=lambda _: True, policies=())
    for size in (985, 986):
        spec = BehaviourSpec(
            f"bird {size}",
            (ObservationSpec("camera", (size,), "uint8"),),
            ActionSpec(branches=(2,)),
        )
        if size == 985:
            known.check(spec, who="sim")
        else:
            with pytest.raises(BadHelloError, match=r"one row has 1,001 bytes"):
                known.check(spec, who="sim")


def test_no_rows_fit_the_spec(walker: BehaviourSpec, bird: BehaviourSpec) -> None:
    for spec in (walker, bird):
        no_rows(spec).check(spec)
        assert len(no_rows(spec)) == 0
