"""What simulators report beside their rows: aggregated for each policy, and bounded."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from entrain.run.state_files import decode_state, encode_state
from entrain.serving.aggregates import LIMITS
from entrain.serving.statistics import Reports, Statistics
from entrain_envs.statistics import MOST_VALUES, Aggregation, Statistic, grouped
from support.world import BIRD, WALKER, FakeTimers

Make = Callable[..., Any]


def a_run(*, most_names: int = 20) -> Statistics:
    timers = FakeTimers()
    return Statistics(most_names=most_names, clock=timers.clock, call_later=timers.call_later)


def note(
    reports: Reports,
    statistics: Iterable[Statistic],
    *,
    step: int = 1,
    behaviours: Iterable[str] = ("walker",),
) -> None:
    reports.note(
        grouped(statistics), who="sim@here", behaviours=tuple(behaviours), step_number=step
    )


def several(name: str, values: Iterable[float], how: Aggregation = "mean") -> list[Statistic]:
    return [Statistic(name, value, how) for value in values]


@pytest.mark.parametrize(("how", "value"), [("mean", 2.0), ("last", 3.0), ("sum", 6.0)])
def test_values_of_several_steps_and_simulators_come_to_one(how: Aggregation, value: float) -> None:
    run = a_run()
    note(Reports(run), several("coins", [1.0, 2.0], how))
    note(Reports(run), several("coins", [3.0], how))
    assert run.take("walker")["coins"].value == value
    # The next metrics begin with nothing.
    assert run.take("walker") == {}


def test_each_policy_has_what_came_since_its_own_metrics() -> None:
    run = a_run()
    reports = Reports(run)
    note(reports, several("coins", [1.0], "sum"), behaviours=["walker", "bird"])
    assert run.take("walker")["coins"].value == 1.0
    note(reports, several("coins", [2.0], "sum"), behaviours=["walker", "bird"])
    assert run.take("walker")["coins"].value == 2.0
    assert run.take("bird")["coins"].value == 3.0


def test_a_histogram_has_every_value_in_its_bucket() -> None:
    run = a_run()
    note(Reports(run), several("speed", [-2.0, 0.0, 0.5, 0.5, 1e30], "histogram"))
    summary = run.take("walker")["speed"]
    found = summary.histogram
    assert found is not None
    assert (found.least, found.most, found.count) == (-2.0, 1e30, 5)
    assert found.counts.sum() == 5
    assert found.counts[0] == found.counts[-1] == 1, "no empty bucket at the ends"
    bucket = int(np.flatnonzero(found.counts == 2)[0])
    assert found.limits[bucket - 1] <= 0.5 < found.limits[bucket]
    assert math.isclose(found.squares, 4.0 + 0.5 + 1e60)
    assert summary.value == pytest.approx(2e29)
    assert (np.diff(LIMITS) > 0).all()


def test_the_newest_aggregation_is_that_of_the_name() -> None:
    run = a_run()
    note(Reports(run), [Statistic("coins", 1.0, "sum"), Statistic("coins", 5.0, "mean")])
    assert run.take("walker")["coins"].value == 3.0


def test_what_is_no_number_is_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    run = a_run()
    reports = Reports(run)
    for _ in range(3):
        note(reports, several("coins", [math.nan, 1.0, math.inf, 1e300]))
    assert run.take("walker")["coins"].value == 1.0
    (record,) = caplog.records
    assert "sim@here reported a value of the statistic 'coins' that is no finite" in record.message


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb"])
def test_a_name_that_cannot_be_is_left_out(name: str, caplog: pytest.LogCaptureFixture) -> None:
    run = a_run()
    note(Reports(run), several(name, [1.0]))
    assert run.take("walker") == {}
    assert "expected 1 to 200 printable characters" in caplog.text


def test_a_simulator_with_ever_new_names_leaves_room_for_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = a_run(most_names=20)
    greedy, modest = Reports(run), Reports(run)
    for step in range(100):
        note(greedy, several(f"name-{step}", [1.0]), step=step)
    note(modest, several("coins", [1.0]))
    assert len(run.take("walker")) == 11
    assert len(run.state()["names"]) == 11
    (record,) = caplog.records
    assert "a further statistic, 'name-10': left out, like others" in record.message
    assert "this trainer takes 20 names, 10 of them from one simulator" in record.message
    assert "raise server.max_statistics" in record.message


def test_a_step_with_very_many_values_counts_with_its_first_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = a_run()
    note(Reports(run), [*several("coins", [1.0] * MOST_VALUES, "sum"), Statistic("level", 1.0)])
    found = run.take("walker")
    assert {name: each.value for name, each in found.items()} == {"coins": MOST_VALUES}
    assert "more than 10,000 values of statistics in one Step" in caplog.text


def test_the_value_reported_last_is_known_for_the_step_before_too() -> None:
    reports = Reports(a_run())
    note(reports, several("level", [3.0]), step=5)
    note(reports, several("level", [1.0]), step=6)
    assert reports.latest(until=5) == {"level": 3.0}
    assert reports.latest(until=6) == reports.latest(until=7) == {"level": 1.0}


def test_a_checkpoint_keeps_what_no_metrics_have_shown(make_world: Make) -> None:
    world = make_world()
    world.join(specs=(WALKER, BIRD))
    (participant,) = world.participants
    participant.note_statistics(several("coins", [1.0, 2.0], "sum"))
    participant.note_statistics(several("speed", [1.0, 2.0], "histogram"))
    again = make_world()
    again.load_state(world.state())
    (restored,) = again.participants
    restored.note_statistics([Statistic("coins", 4.0, "sum"), Statistic("speed", 3.0, "histogram")])
    found = again.participants.statistics.take("bird")
    assert found["coins"].value == 7.0
    assert found["speed"].histogram.counts.sum() == 3
    # Also by way of the files.
    state = again.participants.statistics.state()
    third = a_run()
    third.load_state(decode_state(*encode_state(state)))
    assert third.take("walker")["coins"].value == 7.0


def test_a_checkpoint_of_before_there_were_statistics_is_loaded(make_world: Make) -> None:
    world = make_world()
    world.join()
    state = world.state()
    del state["participants"]["statistics"]
    for each in state["participants"]["participants"].values():
        del each["reports"]
    make_world().load_state(state)


def test_what_is_noted_of_a_simulator_names_it(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world.join()
    (participant,) = world.participants
    with caplog.at_level(logging.WARNING):
        participant.note_statistics([Statistic("coins", math.nan)])
    assert "walker-sim@10.0.0.7 reported a value" in caplog.text
