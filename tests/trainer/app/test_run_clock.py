"""A run's time goes on where its last sitting ended."""

from entrain.app.run_clock import RunClock


def test_time_between_two_sittings_does_not_count() -> None:
    now_s = 100.0
    first = RunClock(clock=lambda: now_s, wall_clock=lambda: 1_760_000_000.0)
    now_s = 130.0
    assert first.seconds == 30.0
    state = first.state()
    now_s = 5_000.0
    second = RunClock(clock=lambda: now_s, wall_clock=lambda: 1_770_000_000.0)
    second.load_state(state)
    now_s = 5_012.0
    assert second.seconds == 42.0
    assert second.started_at == 1_760_000_000.0


def test_a_pause_does_not_count() -> None:
    now_s = 0.0
    clock = RunClock(clock=lambda: now_s)
    assert clock.go_on() == 0.0
    now_s = 5.0
    clock.hold()
    now_s = 95.0
    assert clock.seconds == clock.state()["seconds"] == 5.0
    assert clock.go_on() == 90.0
    now_s = 97.0
    assert clock.seconds == 7.0
