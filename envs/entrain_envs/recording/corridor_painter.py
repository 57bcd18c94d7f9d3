"""Draws a cue memory's corridor from the side: its signs, its walker, and the doors at its end."""

import colorsys
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from entrain_envs.recording.frames import Picture
from entrain_envs.recording.painted import Observation

WIDTH, HEIGHT = 360, 200
SMOOTHNESS = 3
"""Drawn so many times as large, then reduced, so that edges are smooth."""

SPACING = 112
"""From one place in the corridor to the next."""

CEILING, FLOOR = 38, 164
WALKER_X = 130
DOORS_PLACE = 2
NO_SIGN = -1

PAPER, WALL, JOINT, GROUND, INK, SOFT = (
    "#f3f6fa", "#e4dccd", "#cfc5b2", "#9c8f7c", "#39424c", "#7b8590",
)  # fmt: skip
FOG, WOOD, DARK, RIGHT, WRONG, BODY = (
    "#c9c3b8", "#a9744a", "#2b211a", "#2e9e5b", "#d1453b", "#3f6fb0",
)  # fmt: skip


class CorridorPainter:
    """The corridor of one agent. Someone who watches is reminded of the sign at the entrance."""

    speed = 3.0

    def __init__(self) -> None:
        """Draw nothing yet."""
        self._font = ImageFont.load_default(13 * SMOOTHNESS)
        self._signs: list[int] = []
        """What hung at each place that was passed, from the entrance on."""
        self._steps = 0
        self._cues = 0
        self._is_at_doors = False
        self._chosen: int | None = None

    def begin(self, observation: Observation, parameters: Mapping[str, float]) -> None:  # noqa: ARG002 - a painter's interface
        """A walker is put at the entrance."""
        self._signs = []
        self._cues = len(observation["sign"])
        self._is_at_doors = False
        self._chosen = None
        self._see(observation)

    def step(self, observation: Observation, *, choice: int | None, reward: float) -> None:  # noqa: ARG002 - a painter's interface
        """The walker went on, or through a door."""
        if self._is_at_doors:
            self._chosen = choice
        else:
            self._see(observation)

    def _see(self, observation: Observation) -> None:
        sign = observation["sign"]
        # Those that are out of sight again are forgotten: a corridor may be of any length.
        self._signs = [*self._signs[:1], *self._signs[1:][-3:]]
        self._signs.append(int(np.argmax(sign)) if sign.any() else NO_SIGN)
        self._is_at_doors = bool(observation["place"][DOORS_PLACE])
        self._steps = 0 if len(self._signs) == 1 else self._steps + 1

    def picture(self) -> Picture:
        """The walker, what it sees and has just passed, and the sign to remember."""
        image = Image.new("RGB", (WIDTH * SMOOTHNESS, HEIGHT * SMOOTHNESS), PAPER)
        draw = _Pen(ImageDraw.Draw(image), self._font)
        draw.box(0, CEILING, WIDTH, FLOOR, FOG)
        draw.box(0, FLOOR, WIDTH, FLOOR + 8, GROUND)
        if self._is_at_doors:
            self._draw_doors(draw)
        else:
            self._draw_corridor(draw)
        self._draw_walker(draw, 26 if self._is_at_doors else WALKER_X)
        draw.text(10, 24, "the sign at the entrance:", SOFT)
        self._draw_sign(draw, 186, 20, self._signs[0], 11)
        draw.text(10, HEIGHT - 9, f"step {self._steps:,}", INK)
        if self._chosen is not None:
            is_right = self._chosen == self._signs[0]
            words, colour = ("the right door", RIGHT) if is_right else ("the wrong door", WRONG)
            draw.text(WIDTH - 10, HEIGHT - 9, words, colour, anchor="rs")
        return np.asarray(image.reduce(SMOOTHNESS))

    def _draw_corridor(self, draw: "_Pen") -> None:
        """The places that were passed, up to the walker's; what comes is in fog."""
        for back, sign in enumerate(reversed(self._signs)):
            x, place = WALKER_X - SPACING * back, self._steps - back
            is_entrance = back == len(self._signs) - 1 and place == 0
            if x < -SPACING or (back == len(self._signs) - 1 and not is_entrance):
                break
            draw.box(x - SPACING / 2, CEILING, x + SPACING / 2, FLOOR, WALL)
            draw.box(x + SPACING / 2 - 2, CEILING, x + SPACING / 2, FLOOR, JOINT)
            if is_entrance:
                draw.box(x - SPACING / 2 - 7, CEILING, x - SPACING / 2, FLOOR, WOOD)
            self._draw_sign(draw, x, 78, sign, 22)

    def _draw_doors(self, draw: "_Pen") -> None:
        draw.box(0, CEILING, WIDTH, FLOOR, WALL)
        left, room = 54, WIDTH - 62
        for door in range(self._cues):
            width = room / self._cues
            middle, half = left + (door + 0.5) * width, min(30.0, 0.38 * width)
            is_open = door == self._chosen
            if self._chosen is not None and (is_open or door == self._signs[0]):
                frame = RIGHT if door == self._signs[0] else WRONG
                draw.box(middle - half - 4, 82, middle + half + 4, FLOOR, frame)
            draw.box(middle - half, 86, middle + half, FLOOR, DARK if is_open else WOOD)
            if not is_open:
                draw.disc(middle + 0.7 * half, 128, min(2.5, half / 5), PAPER)
            self._draw_sign(draw, middle, 62, door, min(15.0, 0.4 * width))

    def _draw_walker(self, draw: "_Pen", x: float) -> None:
        draw.disc(x, FLOOR - 48, 9, BODY)
        draw.line(x, FLOOR - 40, x, FLOOR - 18, BODY)
        swing = 8 if self._steps % 2 else 4
        draw.line(x, FLOOR - 18, x - swing, FLOOR - 1, BODY)
        draw.line(x, FLOOR - 18, x + swing, FLOOR - 1, BODY)
        draw.line(x, FLOOR - 34, x + 11, FLOOR - 27, BODY)

    def _draw_sign(self, draw: "_Pen", x: float, y: float, sign: int, radius: float) -> None:
        if sign == NO_SIGN:
            return
        red, green, blue = colorsys.hls_to_rgb(sign / max(self._cues, 1), 0.45, 0.62)
        colour = f"#{int(255 * red):02x}{int(255 * green):02x}{int(255 * blue):02x}"
        draw.disc(x, y, radius, colour)
        letter = chr(ord("A") + sign) if self._cues <= 26 else str(sign + 1)
        draw.text(x, y, letter, PAPER, anchor="mm")


class _Pen:
    """Draws in the picture's own units."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont"
    ) -> None:
        self._draw = draw
        self._font = font

    def box(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        if right > left:
            scaled = [SMOOTHNESS * side for side in (left, top, right, bottom)]
            self._draw.rectangle((scaled[0], scaled[1], scaled[2] - 1, scaled[3] - 1), colour)

    def disc(self, x: float, y: float, radius: float, colour: str) -> None:
        left, top, right, bottom = x - radius, y - radius, x + radius, y + radius
        scaled = [SMOOTHNESS * side for side in (left, top, right, bottom)]
        self._draw.ellipse((scaled[0], scaled[1], scaled[2], scaled[3]), colour)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: str) -> None:
        ends = [SMOOTHNESS * place for place in (x0, y0, x1, y1)]
        self._draw.line(ends, colour, 5 * SMOOTHNESS, joint="curve")

    def text(self, x: float, y: float, text: str, colour: str, anchor: str = "ls") -> None:
        self._draw.text((SMOOTHNESS * x, SMOOTHNESS * y), text, colour, self._font, anchor)
