"""Rigid balls on platforms, against what physics says by hand."""

import numpy as np
import pytest

from entrain_envs.simulators.rolling_ball import (
    BOUNCE_SPEED,
    FRICTION,
    MAX_TILT,
    RESTITUTION,
    FloatArray,
    RollingBalls,
)

GRAVITY = 10.0
RADIUS = 0.5
STEP_S = 0.001
STILL = np.zeros((2, 1))


def ball(
    *,
    tilt: tuple[float, float] = (0.0, 0.0),
    height: float = 0.0,
    gravity: float = GRAVITY,
    radius: float = RADIUS,
    half_size: float = 1000.0,
) -> RollingBalls:
    """One ball `height` above the middle of its platform."""
    balls = RollingBalls(1)
    normal = np.array(
        [-np.sin(tilt[0]) * np.cos(tilt[1]), np.cos(tilt[0]) * np.cos(tilt[1]), np.sin(tilt[1])]
    )
    balls.place(
        np.array([0]),
        position=((radius + height) * normal)[:, None],
        tilt=np.array(tilt)[:, None],
        gravity=gravity,
        radius=radius,
        half_size=half_size,
    )
    return balls


def simulate(balls: RollingBalls, duration_s: float, tilt_speed: FloatArray = STILL) -> None:
    for _ in range(round(duration_s / STEP_S)):
        balls.move(tilt_speed, duration_s=STEP_S)


def speed(balls: RollingBalls) -> float:
    return float(np.linalg.norm(balls.velocity[:, 0]))


def test_a_ball_in_the_air_falls_freely() -> None:
    # 1/2 g t^2 = 1/2 * 10 * 0.4^2 = 0.8 m, g t = 4 m/s
    balls = ball(height=5.0)
    simulate(balls, 0.4)
    assert balls.position[1, 0] == pytest.approx(5.5 - 0.8, abs=0.01)
    assert balls.velocity[1, 0] == pytest.approx(-4.0)


def test_a_ball_on_a_level_platform_stays_at_rest() -> None:
    balls = ball()
    simulate(balls, 5.0)
    np.testing.assert_allclose(balls.position[:, 0], [0.0, RADIUS, 0.0], atol=1e-3)
    assert speed(balls) < 0.02


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("angle", [0.1, -0.2, 0.4])
def test_a_rolling_ball_accelerates_by_five_sevenths_of_the_slope(axis: int, angle: float) -> None:
    # A solid sphere that rolls without slipping: a = 5/7 g sin(angle), if tan(angle) * 2/7 is
    # below the friction. After 0.5 s its speed is a * 0.5.
    tilt = (angle, 0.0) if axis == 0 else (0.0, angle)
    balls = ball(tilt=tilt)
    simulate(balls, 0.5)
    expected = 5.0 / 7.0 * GRAVITY * np.sin(abs(angle)) * 0.5
    assert speed(balls) == pytest.approx(expected, rel=0.01)


def test_a_platform_tilted_about_z_lets_the_ball_roll_towards_its_low_side() -> None:
    # A positive turn about z lifts the +x side: the ball rolls to -x.
    balls = ball(tilt=(0.2, 0.0))
    simulate(balls, 0.3)
    assert balls.velocity[0, 0] < -0.1
    assert abs(balls.velocity[2, 0]) < 1e-9


def test_a_platform_tilted_about_x_lets_the_ball_roll_towards_its_low_side() -> None:
    # A positive turn about x lowers the +z side: the ball rolls to +z.
    balls = ball(tilt=(0.0, 0.2))
    simulate(balls, 0.3)
    assert balls.velocity[2, 0] > 0.1
    assert abs(balls.velocity[0, 0]) < 1e-9


def test_a_rolling_ball_turns_as_fast_as_it_moves() -> None:
    # Rolling without slipping: |spin| * radius = speed.
    balls = ball(tilt=(0.2, 0.0))
    simulate(balls, 0.5)
    assert float(np.linalg.norm(balls.spin[:, 0])) * RADIUS == pytest.approx(speed(balls), rel=0.01)


def test_rolling_keeps_five_sevenths_of_the_speed_of_sliding() -> None:
    # A ball thrown flat without spin slips until it rolls: 5/7 of its speed is left.
    balls = ball()
    balls.velocity[0, 0] = 2.0
    simulate(balls, 1.0)
    assert balls.velocity[0, 0] == pytest.approx(2.0 * 5.0 / 7.0, rel=0.01)


def test_friction_slows_a_slipping_ball_by_no_more_than_coulombs_law() -> None:
    # mu g t = 0.6 * 10 * 0.05 = 0.3 m/s while it still slips.
    balls = ball()
    balls.velocity[0, 0] = 2.0
    simulate(balls, 0.05)
    assert balls.velocity[0, 0] == pytest.approx(2.0 - FRICTION * GRAVITY * 0.05, rel=0.02)


def test_a_dropped_ball_bounces_with_its_part_of_the_impact_speed() -> None:
    # From 0.8 m it lands with sqrt(2 * 10 * 0.8) = 4 m/s.
    balls = ball(height=0.8)
    while balls.velocity[1, 0] <= 0.0:
        balls.move(STILL, duration_s=STEP_S)
    assert balls.velocity[1, 0] == pytest.approx(RESTITUTION * 4.0, rel=0.01)


def test_an_impact_slower_than_the_bounce_speed_does_not_bounce() -> None:
    balls = ball(height=0.25 * BOUNCE_SPEED**2 / (2.0 * GRAVITY))
    highest = 0.0
    for _ in range(200):
        balls.move(STILL, duration_s=STEP_S)
        highest = max(highest, float(balls.velocity[1, 0]))
    assert highest < 1e-9


def test_a_rising_platform_takes_the_ball_along() -> None:
    # At x = 1 a turn about z at 0.4 rad/s lifts the surface by 0.4 m/s, too slowly to bounce.
    balls = ball()
    balls.position[0, 0] = 1.0
    balls.move(np.array([[0.4], [0.0]]), duration_s=STEP_S)
    assert balls.velocity[1, 0] == pytest.approx(0.4, rel=0.03)


def test_a_ball_never_gains_energy_on_a_platform_that_does_not_move() -> None:
    balls = ball(tilt=(0.15, -0.1), height=1.0)
    balls.velocity[:, 0] = (1.0, 0.0, -0.5)
    balls.spin[:, 0] = (3.0, -2.0, 1.0)

    def energy() -> float:
        velocity, spin = balls.velocity[:, 0], balls.spin[:, 0]
        turning = 0.5 * 0.4 * RADIUS**2 * float(spin @ spin)
        moving = 0.5 * float(velocity @ velocity)
        return turning + moving + GRAVITY * float(balls.position[1, 0])

    before = energy()
    for _ in range(2000):
        balls.move(STILL, duration_s=STEP_S)
        after = energy()
        # Semi-implicit Euler errs by g^2 dt^2 / 2 a step, and pushing the ball out of the
        # platform lifts it as much.
        assert after <= before + 2.0 * GRAVITY**2 * STEP_S**2
        before = after


def test_a_platform_stops_at_its_greatest_tilt() -> None:
    balls = ball(height=50.0)
    simulate(balls, 2.0, np.array([[2.0], [-2.0]]))
    np.testing.assert_allclose(balls.tilt[:, 0], [MAX_TILT, -MAX_TILT])


def test_gravity_is_each_balls_own() -> None:
    balls = RollingBalls(2)
    balls.gravity[:] = (1.0, 4.0)
    balls.position[1] = 10.0
    balls.move(np.zeros((2, 2)), duration_s=0.5)
    assert balls.velocity[1].tolist() == [-0.5, -2.0]


def test_a_ball_beside_its_platform_falls_past_it() -> None:
    balls = ball(half_size=2.5)
    balls.position[:, 0] = (2.6, 0.6, 0.0)
    simulate(balls, 0.5)
    assert balls.position[1, 0] < -0.5


def test_a_platform_does_not_lift_a_ball_that_is_already_below_it() -> None:
    balls = ball(half_size=2.5)
    balls.position[:, 0] = (0.0, -0.1, 0.0)
    simulate(balls, 0.3)
    assert balls.position[1, 0] < -0.4


@pytest.mark.parametrize(
    ("position", "has_fallen"),
    [
        ((0.0, 0.5, 0.0), False),
        ((2.9, 0.5, 0.0), False),
        ((3.1, 0.5, 0.0), True),
        ((-3.1, 0.5, 0.0), True),
        ((0.0, 0.5, 3.1), True),
        ((0.0, -1.9, 0.0), False),
        ((0.0, -2.1, 0.0), True),
    ],
)
def test_a_ball_has_fallen_below_the_depth_or_a_radius_beyond_the_edge(
    position: tuple[float, float, float], has_fallen: bool
) -> None:
    # half size 2.5 + radius 0.5 = 3
    balls = ball(half_size=2.5)
    balls.position[:, 0] = position
    assert bool(balls.fallen(depth=2.0)[0]) is has_fallen


def test_balls_do_not_influence_each_other() -> None:
    together = RollingBalls(3)
    generator = np.random.default_rng(0)
    position = generator.uniform(-1.0, 1.0, (3, 3)) + np.array([[0.0], [1.5], [0.0]])
    tilt = generator.uniform(-0.2, 0.2, (2, 3))
    tilt_speed = generator.uniform(-1.0, 1.0, (2, 3))

    def place(balls: RollingBalls, columns: slice) -> None:
        balls.place(
            np.arange(position[:, columns].shape[1]),
            position=position[:, columns],
            tilt=tilt[:, columns],
            gravity=9.81,
            radius=0.5,
            half_size=2.5,
        )

    place(together, slice(None))
    simulate(together, 1.0, tilt_speed)
    for index in range(3):
        alone = RollingBalls(1)
        place(alone, slice(index, index + 1))
        simulate(alone, 1.0, tilt_speed[:, index : index + 1])
        np.testing.assert_allclose(alone.position[:, 0], together.position[:, index])
        np.testing.assert_allclose(alone.spin[:, 0], together.spin[:, index])
