"""Rigid balls on square platforms that tilt: bouncing, rolling, slipping and falling off.

N independent pairs at once; vectors are [3, N], one row per axis, y up, with the origin in the
middle of each platform's upper face. Units are metres, seconds and radians; the ball's mass is 1.
This module does not know rewards or episodes.
"""

import numpy as np
import numpy.typing as npt

from entrain_envs.timestep import BoolArray, Int64Array

FloatArray = npt.NDArray[np.float64]

RESTITUTION = 0.3
"""Share of its impact speed that a ball keeps after a bounce."""

BOUNCE_SPEED = 0.5
"""Slower impacts do not bounce; otherwise a resting ball would tremble."""

FRICTION = 0.6
"""Coulomb friction coefficient between ball and platform."""

MAX_TILT = float(np.deg2rad(29.0))
"""Largest tilt of a platform about each axis."""


class RollingBalls:
    """The state of N balls and their platforms. Call `place` before `move`."""

    def __init__(self, count: int) -> None:
        """Make room for `count` balls of radius 0.5 on platforms of side 5."""
        self.tilt: FloatArray = np.zeros((2, count))
        """[2, N] angle of each platform about z, then about its own x axis."""
        self.position: FloatArray = np.zeros((3, count))
        """[3, N] centre of each ball."""
        self.velocity: FloatArray = np.zeros((3, count))
        """[3, N] velocity of each ball's centre."""
        self.spin: FloatArray = np.zeros((3, count))
        """[3, N] angular velocity of each ball."""
        self.gravity: FloatArray = np.full(count, 9.81)
        self.radius: FloatArray = np.full(count, 0.5)
        self.half_size: FloatArray = np.full(count, 2.5)
        """[N] half the length of each platform's side."""

    def place(
        self,
        which: Int64Array,
        *,
        position: FloatArray,
        tilt: FloatArray,
        gravity: float,
        radius: float,
        half_size: float,
    ) -> None:
        """Put balls at rest in the air: `position` [3, W] and `tilt` [2, W] of W = len(which)."""
        self.position[:, which] = position
        self.tilt[:, which] = tilt
        self.velocity[:, which] = 0.0
        self.spin[:, which] = 0.0
        self.gravity[which] = gravity
        self.radius[which] = radius
        self.half_size[which] = half_size

    def move(self, tilt_speed: FloatArray, *, duration_s: float) -> None:
        """One physics step (semi-implicit Euler) with platforms turning at `tilt_speed` [2, N].

        Impulses at the contact point, for a unit mass with moment of inertia 2/5 r^2:
            normal      j_n = -(1 + restitution) * (approach speed)
            tangential  j_t = -2/7 * (slip velocity) stops the slip, but |j_t| <= friction * j_n

        Source: Baraff 1997, Rigid Trunk Simulation II, section 8 (impulses at a contact).
        """
        tilt = np.clip(self.tilt + tilt_speed * duration_s, -MAX_TILT, MAX_TILT)
        turning = (tilt - self.tilt) / duration_s
        self.tilt = tilt
        self.velocity[1] -= self.gravity * duration_s
        self.position += self.velocity * duration_s

        x_axis, normal, z_axis = self._axes()
        height = _dot(normal, self.position)
        gap = height - self.radius
        touching = (gap < 0.0) & (height > 0.0)
        touching &= np.abs(_dot(x_axis, self.position)) <= self.half_size
        touching &= np.abs(_dot(z_axis, self.position)) <= self.half_size
        if not touching.any():
            return

        contact = self.position - self.radius * normal
        platform_spin = turning[1] * x_axis
        platform_spin[2] += turning[0]
        relative = self.velocity - _cross(platform_spin, contact)
        approach = _dot(normal, relative)
        bounce = np.where(approach < -BOUNCE_SPEED, 1.0 + RESTITUTION, 1.0)
        normal_impulse = np.where(touching, np.maximum(-bounce * approach, 0.0), 0.0)

        # The ball's own surface moves at the contact point by spin x (-radius * normal).
        slip = relative - approach * normal + self.radius * _cross(normal, self.spin)
        slip_speed = np.sqrt(_dot(slip, slip))
        grip = np.minimum(2.0 / 7.0, FRICTION * normal_impulse / np.maximum(slip_speed, 1e-12))
        tangential = -grip * slip

        self.velocity += normal_impulse * normal + tangential
        # Torque (-radius * normal) x impulse, over the moment of inertia 2/5 radius^2.
        self.spin += _cross(tangential, normal) * (2.5 / self.radius)
        self.position -= np.where(touching, gap, 0.0) * normal

    def fallen(self, *, depth: float) -> BoolArray:
        """[N] true where the ball is `depth` below its platform, or a radius beyond its edge."""
        beside = np.maximum(np.abs(self.position[0]), np.abs(self.position[2]))
        fallen: BoolArray = (self.position[1] < -depth) | (beside > self.half_size + self.radius)
        return fallen

    def _axes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Each platform's own x, y and z axis: R_z(tilt[0]) R_x(tilt[1]) applied to the world's."""
        (sin_z, sin_x), (cos_z, cos_x) = np.sin(self.tilt), np.cos(self.tilt)
        axes = np.zeros((3, *self.position.shape))
        x_axis, normal, z_axis = axes
        x_axis[0] = cos_z
        x_axis[1] = sin_z
        normal[0] = -sin_z * cos_x
        normal[1] = cos_z * cos_x
        normal[2] = sin_x
        z_axis[0] = sin_z * sin_x
        z_axis[1] = -cos_z * sin_x
        z_axis[2] = cos_x
        return x_axis, normal, z_axis


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    product: FloatArray = np.einsum("in,in->n", a, b)
    return product


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    # np.cross takes several times as long for vectors this short.
    product = np.empty_like(a)
    product[0] = a[1] * b[2] - a[2] * b[1]
    product[1] = a[2] * b[0] - a[0] * b[2]
    product[2] = a[0] * b[1] - a[1] * b[0]
    return product
