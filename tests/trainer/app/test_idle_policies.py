"""A policy is idle once it got no step, and learned nothing, for a while."""

from entrain.app.idle_policies import IdlePolicies, Standing


def test_a_policy_that_gets_steps_or_learns_is_not_idle() -> None:
    now_s = 0.0
    idle = IdlePolicies(after_s=10.0, clock=lambda: now_s)
    for second in range(40):
        now_s = float(second)
        standings = {
            "acts": Standing(second // 5, is_learning=False),
            "learns": Standing(7, is_learning=second < 20),
            "silent": Standing(7, is_learning=False),
        }
        expected = {name for name, since in (("learns", 19), ("silent", 0)) if second >= since + 10}
        assert idle.look(standings) == expected


def test_a_policy_that_gets_a_step_again_is_not_idle_any_more() -> None:
    times = iter((0.0, 10.0, 11.0))
    idle = IdlePolicies(after_s=10.0, clock=lambda: next(times))
    seen = [idle.look({"late": Standing(steps, is_learning=False)}) for steps in (1, 1, 2)]
    assert seen == [set(), {"late"}, set()]
