"""Each rule of the conformance kit: kept by a simulator that keeps all, broken by one that breaks it."""

from collections.abc import Callable

import numpy as np
import pytest

from entrain_envs.conformance.results import Finding, Results, Verdict
from entrain_envs.conformance.rules import RULES
from entrain_envs.conformance.script import Script
from entrain_envs.conformance.pace import Pace
from support.sample_simulator import SampleSimulator


def check(
    simulator: SampleSimulator, *, token: str = "secret", timeout_s: float = 3600.0
) -> Results:
    """Run the kit on a simulator whose clock it shares."""
    script = Script(
        simulator,
        pace=Pace(),
        timeout_s=timeout_s,
        token=token,
        launcher=simulator,
        clock=lambda: simulator.now_s,
    )
    return script.run()


class Good(SampleSimulator):
    token = "secret"


def test_a_simulator_that_keeps_all_rules_shows_and_passes_every_one() -> None:
    results = check(Good())
    assert [f for f in results.findings() if f.verdict is not Verdict.PASSED] == []
