"""Each rule of the conformance kit, on a simulator that keeps all and on those that break one."""

import pytest

import support.faulty_ends
import support.faulty_lives
import support.faulty_rows
from entrain_envs.conformance.pace import Pace
from entrain_envs.conformance.results import Results, Verdict
from entrain_envs.conformance.rules import RULES
from entrain_envs.conformance.script import Script
from entrain_envs.wire import trainer_pb2 as pb
from support.faulty_simulators import FAULTY, Faulty, Good, OtherHello
from support.sample_simulator import BIRD, FIRST, MID, Row, SampleSimulator

_MODULES = (support.faulty_ends, support.faulty_lives, support.faulty_rows)
"""Imported, because they fill `FAULTY`."""


def check(simulator: SampleSimulator, *, timeout_s: float = 3600.0) -> Results:
    """Run the kit on a simulator whose clock it shares."""
    return Script(
        simulator,
        pace=Pace(),
        timeout_s=timeout_s,
        token="secret",
        launcher=simulator,
        clock=lambda: simulator.now_s,
    ).run()


def failures(results: Results) -> dict[str, str]:
    """{rule: what arrived}."""
    return {
        finding.rule.name: finding.arrived
        for finding in results.findings()
        if finding.verdict is Verdict.FAILED
    }


def test_a_simulator_that_keeps_all_rules_shows_and_passes_every_one() -> None:
    findings = check(Good()).findings()
    assert [each for each in findings if each.verdict is not Verdict.PASSED] == []


@pytest.mark.parametrize("faulty", FAULTY, ids=lambda each: f"{each.rule}-{each.case}".strip("-"))
def test_a_simulator_that_breaks_one_rule_fails_that_and_no_other(faulty: Faulty) -> None:
    failed = failures(check(faulty.make()))
    assert set(failed) == {faulty.rule}, failed
    assert faulty.words in failed[faulty.rule]


class LateOnlyWhereDue(OtherHello):
    """Walkers have a deadline, and one is away in the Step whose Act comes late; birds have none,
    and wait. Only what the fallback led to is late.
    """

    def _reset(self) -> None:
        super()._reset()
        self.groups = self.groups[:1] * 2
        self.groups[0].steps = 2

    def change_hello(self, hello: pb.Hello) -> None:
        hello.max_unanswered_steps = 0
        self.has_declared = True
        del hello.behaviours[1:]
        hello.behaviours.append(BIRD)

    def rows(self, rows: list[Row]) -> pb.BehaviourStep:
        self.was_shown |= self.is_late and any(
            row.step_type == MID and not row.was_asked for row in rows
        )
        return super().rows(rows)

    was_shown = False

    def finished(self, step: pb.Step) -> pb.Step:
        bird = self.bird()
        bird.step_type = bytes([FIRST if step.sequence == 1 else MID])
        step.behaviours.append(bird)
        return step


def test_only_agents_with_a_deadline_that_were_given_a_late_action_say_so() -> None:
    simulator = LateOnlyWhereDue()
    findings = {each.rule.name: each for each in check(simulator).findings()}
    assert simulator.was_shown, "no agent was away while the late Act was waited for"
    assert findings["says-late"].verdict is Verdict.PASSED
    assert not any(each.verdict is Verdict.FAILED for each in findings.values())


class LateWhoeverActs(LateOnlyWhereDue):
    """The one that was away is said to be late, too, though it acts by an Act that was in time."""

    def rows(self, rows: list[Row]) -> pb.BehaviourStep:
        part = super().rows(rows)
        part.late = bytes(self.is_late and row.step_type != FIRST for row in rows)
        return part


def test_an_agent_that_was_not_in_the_late_step_must_not_say_so() -> None:
    failed = failures(check(LateWhoeverActs()))
    assert set(failed) == {"says-late"}
    assert "rows of [('walker', 2)] with late 1" in failed["says-late"]


def test_every_rule_has_a_simulator_that_breaks_it() -> None:
    assert {each.rule for each in FAULTY} == {rule.name for rule in RULES}


def test_with_little_time_the_silence_is_left_out_and_not_the_rest() -> None:
    findings = {each.rule.name: each for each in check(Good(), timeout_s=60.0).findings()}
    not_shown = {name for name, each in findings.items() if each.verdict is Verdict.NOT_SHOWN}
    assert not_shown == {"inquires", "gives-up"}
    assert findings["inquires"].arrived.startswith("only ")
    assert failures(check(Good(), timeout_s=60.0)) == {}


def test_what_there_was_no_time_for_is_not_shown_for_that_reason() -> None:
    findings = check(Good(), timeout_s=2.0).findings()
    stopped = next(each for each in findings if each.rule.name == "stopped")
    assert (stopped.verdict, stopped.arrived) == (Verdict.NOT_SHOWN, "the time was over")
    assert not any(each.verdict is Verdict.FAILED for each in findings)
