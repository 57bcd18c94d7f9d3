"""Draws a balance ball on its platform in simple perspective, from what its agent observes."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from entrain_envs.recording.frames import Picture, in_words
from entrain_envs.recording.painted import Observation
from entrain_envs.simulators.balance_ball import Settings

Points = npt.NDArray[np.float64]
"""[N, 3] x, y (up) and z, in metres from the middle of the platform's upper face."""

WIDTH, HEIGHT = 320, 220
SMOOTHNESS = 3
"""Drawn so many times as large, then reduced, so that edges are smooth."""

THICKNESS = 0.3
"""Of the platform, in metres."""

TILES = 5
"""In each direction of the platform."""

GROUND = -3.4
"""Height of the ground, in metres."""

CAMERA = np.array([4.2, 5.0, -9.5])
LOOKS_AT = np.array([0.0, -0.75, 0.0])
FOCAL_LENGTH = 1.25
"""In heights of the picture."""

SKY, EARTH, SHADE = "#f3f6fa", "#e3e9f0", "#d2dae4"
TILE_COLOURS = ("#5f93c8", "#4b7fb5")
TOP_SHADE, SIDE, POST, INK = "#3a6796", "#2f557e", "#98a4b1", "#39424c"
BALL_COLOURS = ("#b8441c", "#cf5526", "#e06a35", "#ec8049", "#f59a66", "#fcb98c")
"""From the ball's rim to where the light falls on it."""


class BallPainter:
    """The platform and ball of one agent."""

    speed = 25.0
    """Two and a half times as fast as the ball is."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        self._font = ImageFont.load_default(13 * SMOOTHNESS)
        self._settings = Settings()
        self._observation: Observation = {}
        self._step = 0
        self._return = 0.0

    def begin(self, observation: Observation, parameters: Mapping[str, float]) -> None:
        """A ball is dropped."""
        self._settings = Settings.of(parameters)
        self._observation = observation
        self._step, self._return = 0, 0.0

    def step(self, observation: Observation, *, choice: int | None, reward: float) -> None:  # noqa: ARG002 - a painter's interface
        """The platform was tilted."""
        self._observation = observation
        self._step += 1
        self._return += reward

    def picture(self) -> Picture:
        """The platform with its ball, and what was earned so far."""
        image = Image.new("RGB", (WIDTH * SMOOTHNESS, HEIGHT * SMOOTHNESS), SKY)
        draw = ImageDraw.Draw(image)
        axes = platform_axes(*self._observation["rotation"].astype(np.float64).tolist())
        ball = self._observation["position"].astype(np.float64)
        self._draw_ground(draw, ball)
        if self._is_behind(ball, axes):
            self._draw_ball(draw, ball)
            self._draw_platform(draw, axes)
        else:
            self._draw_platform(draw, axes)
            self._draw_shadow(draw, ball, axes)
            self._draw_ball(draw, ball)
        self._write(draw)
        return np.asarray(image.reduce(SMOOTHNESS))

    def _is_behind(self, ball: Points, axes: Points) -> bool:
        """Whether the platform hides the ball: it is below its plane, and not in front of it."""
        local = axes @ ball
        half = 0.5 * self._settings.platform_size
        to_camera = axes @ (CAMERA - ball)
        is_in_front = any(
            abs(local[axis]) > half and local[axis] * to_camera[axis] > 0 for axis in (0, 2)
        )
        return bool(local[1] < 0 and not is_in_front)

    def _draw_ground(self, draw: ImageDraw.ImageDraw, ball: Points) -> None:
        draw.polygon(_flat(_disc(np.array([0.0, GROUND, 0.0]), 3.6, np.eye(3))), EARTH)
        draw.polygon(_flat(_disc(np.array([0.0, GROUND, 0.0]), 2.3, np.eye(3))), SHADE)
        if np.abs(ball[[0, 2]]).max() > 0.5 * self._settings.platform_size:
            below = np.array([ball[0], GROUND, ball[2]])
            draw.polygon(_flat(_disc(below, self._settings.ball_radius, np.eye(3))), SHADE)
        left, right = _project(np.array([[-0.16, GROUND, 0.0], [0.16, GROUND, 0.0]]))
        (top,) = _project(np.zeros((1, 3)))
        half = (right[0] - left[0]) / 2
        draw.polygon(
            [*map(tuple, (left, right)), (top[0] + half, top[1]), (top[0] - half, top[1])], POST
        )

    def _draw_platform(self, draw: ImageDraw.ImageDraw, axes: Points) -> None:
        half = 0.5 * self._settings.platform_size
        for corners in _side_faces(half):
            face = corners @ axes
            outward = face[:2].mean(axis=0) - np.array([0.0, face[:2].mean(axis=0)[1], 0.0])
            if outward @ (CAMERA - face.mean(axis=0)) > 0:
                draw.polygon(_flat(face), SIDE)
        edges = np.linspace(-half, half, TILES + 1)
        for row in range(TILES):
            for column in range(TILES):
                (x0, x1), (z0, z1) = edges[column : column + 2], edges[row : row + 2]
                tile = np.array([[x0, 0, z0], [x1, 0, z0], [x1, 0, z1], [x0, 0, z1]])
                draw.polygon(_flat(tile @ axes), TILE_COLOURS[(row + column) % 2])

    def _draw_shadow(self, draw: ImageDraw.ImageDraw, ball: Points, axes: Points) -> None:
        half, radius = 0.5 * self._settings.platform_size, self._settings.ball_radius
        x, height, z = axes @ ball
        if max(abs(x), abs(z)) > half + radius or height < 0:
            return
        shrunk = radius / (1.0 + 0.25 * max(0.0, height - radius))
        local = _disc(np.array([x, 0.0, z]), shrunk, np.eye(3))
        local[:, [0, 2]] = np.clip(local[:, [0, 2]], -half, half)
        draw.polygon(_flat(local @ axes), TOP_SHADE)

    def _draw_ball(self, draw: ImageDraw.ImageDraw, ball: Points) -> None:
        (centre,) = _project(ball[np.newaxis])
        radius = self._settings.ball_radius / _depth(ball[np.newaxis])[0] * _scale()
        for layer, colour in enumerate(BALL_COLOURS):
            share = layer / len(BALL_COLOURS)
            x, y = centre + np.array([-0.33, -0.38]) * radius * share
            size = radius * (1.0 - share) ** 0.85
            draw.ellipse((x - size, y - size, x + size, y + size), colour)

    def _write(self, draw: ImageDraw.ImageDraw) -> None:
        bottom = (HEIGHT - 8) * SMOOTHNESS
        for x, anchor, text in (
            (10, "ls", f"step {self._step:,}"),
            (WIDTH - 10, "rs", f"return {in_words(self._return)}"),
        ):
            draw.text((x * SMOOTHNESS, bottom), text, INK, self._font, anchor)


def platform_axes(about_z: float, about_x: float) -> Points:
    """[3, 3] the platform's own x, y and z axis, one a row, as `RollingBalls` turns them."""
    (sin_z, cos_z), (sin_x, cos_x) = (
        (np.sin(angle), np.cos(angle)) for angle in (about_z, about_x)
    )
    return np.array(
        [
            [cos_z, sin_z, 0.0],
            [-sin_z * cos_x, cos_z * cos_x, sin_x],
            [sin_z * sin_x, -cos_z * sin_x, cos_x],
        ]
    )


def _side_faces(half: float) -> Sequence[Points]:
    """The four sides of the platform in its own coordinates: two corners above, two below."""
    corners = half * np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], np.float64)
    down = np.array([0.0, -THICKNESS, 0.0])
    return [
        np.array([corners[a], corners[b], corners[b] + down, corners[a] + down])
        for a, b in ((0, 1), (1, 2), (2, 3), (3, 0))
    ]


def _disc(centre: Points, radius: float, axes: Points) -> Points:
    angle = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)[:, np.newaxis]
    rim: Points = centre + radius * (np.cos(angle) * axes[0] + np.sin(angle) * axes[2])
    return rim


def _view() -> Points:
    """[3, 3] to the right, down, and away, as the camera sees it, one a row."""
    away: Points = (LOOKS_AT - CAMERA) / np.linalg.norm(LOOKS_AT - CAMERA)
    right = np.cross([0.0, 1.0, 0.0], away)
    right /= np.linalg.norm(right)
    return np.array([right, -np.cross(away, right), away])


VIEW = _view()


def _scale() -> float:
    return FOCAL_LENGTH * HEIGHT * SMOOTHNESS


def _depth(points: Points) -> npt.NDArray[np.float64]:
    """How far points are from the camera; those behind it count as near."""
    depth: npt.NDArray[np.float64] = np.maximum((points - CAMERA) @ VIEW[2], 0.5)
    return depth


def _project(points: Points) -> Points:
    """[N, 2] where points are in the picture."""
    seen = (points - CAMERA) @ VIEW[:2].T / _depth(points)[:, np.newaxis] * _scale()
    middle: Points = seen + np.array([WIDTH, HEIGHT]) * SMOOTHNESS / 2
    return middle


def _flat(points: Points) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in _project(points)]
