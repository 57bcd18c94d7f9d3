"""Records the first episodes of one environment into an animation of bounded size.

A long recording keeps every second, fourth, eighth ... step, so that it shows the whole of what
happened in at most MAX_FRAMES pictures. This module does not know what is drawn.
"""

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path

from entrain_envs.errors import OptionError
from entrain_envs.recording.frames import Frames, Moment, Picture
from entrain_envs.recording.gif import write_gif
from entrain_envs.recording.player import write_player

logger = logging.getLogger(__name__)

MAX_FRAMES = 400
"""Most pictures in one recording."""

MAX_BYTES = 32 * 2**20
"""Largest recording; a larger one is written again with half as many pictures."""

MAX_RATE = 30.0
"""Most pictures shown in a second; browsers show GIFs no faster than 50."""

DEFAULT_SPEED = 20.0
"""Steps shown in a second, where neither user nor environment says how many."""

WRITERS = {".gif": write_gif, ".html": write_player}
"""By the ending of a file's name."""


class Recorder:
    """The recording of one environment. Owned by the thread that steps it.

    Call `begin` at each reset and `step` after each step. The file is written when the last episode
    has ended, before its outcome can be sent to anyone, or at `finish`.
    """

    def __init__(
        self,
        path: Path,
        *,
        episodes: int = 1,
        speed: float | None = None,
        max_frames: int = MAX_FRAMES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Record nothing yet.

        Args:
            path: the file to write; its ending says the format.
            episodes: how many to record.
            speed: steps shown in a second; None lets the environment say it.
            max_frames: see `MAX_FRAMES`.
            max_bytes: see `MAX_BYTES`.

        Raises:
            OptionError: no such file can be written.
        """
        self._write = writer_for(path)
        self._path = path
        self._episodes = episodes
        self._speed = speed
        self._natural_speed = DEFAULT_SPEED
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._episode = 0
        self._step = 0
        self._return = 0.0
        self._has_ended = False
        self._every = 0
        self.is_done = False
        """Whether the file was written, or cannot be."""
        folder = path.absolute().parent
        if not folder.is_dir() or not os.access(folder, os.W_OK) or path.is_dir():
            raise OptionError(
                f"cannot record to {path}: name a file in a folder that exists and may be written "
                "to"
            )
        self._frames = Frames(folder)

    def suggest_speed(self, steps_per_s: float | None) -> None:
        """Show so many steps in a second, unless the user has said how many."""
        if steps_per_s is not None and math.isfinite(steps_per_s) and steps_per_s > 0:
            self._natural_speed = float(steps_per_s)

    def begin(self, draw: Callable[[], Picture]) -> None:
        """Begin an episode. `draw` makes the picture of its first moment."""
        if self.is_done:
            return
        if self._step > 0 or self._episode == 0:
            self._episode += 1
        else:
            # The one before had no step.
            self._frames.thin(lambda moment: moment.episode != self._episode)
        self._step, self._return, self._has_ended = 0, 0.0, False
        self._take(draw, ended=False)

    def step(self, draw: Callable[[], Picture], reward: float, *, ended: bool) -> None:
        """Go on with the episode by one step. `draw` makes the picture after it, if asked to.

        What follows an episode's end before the next `begin` is not shown.
        """
        if self.is_done or self._has_ended:
            return
        self._has_ended = ended
        self._step += 1
        self._return += reward
        if ended or self._step % self._stride == 0:
            self._take(draw, ended=ended)
        if ended and self._episode >= self._episodes:
            self.finish()

    def finish(self) -> None:
        """Write what was recorded, once; trouble with the file is only logged."""
        if self.is_done:
            return
        self.is_done = True
        try:
            self._save()
        except OSError as error:
            logger.error(
                "the recording cannot be written to %s: %s", self._path, error.strerror or error
            )
        finally:
            self._frames.close()

    @property
    def _stride(self) -> int:
        """Steps from one picture to the next."""
        if not self._every:
            self._every = math.ceil((self._speed or self._natural_speed) / MAX_RATE)
        return self._every

    def _take(self, draw: Callable[[], Picture], *, ended: bool) -> None:
        try:
            self._frames.append(draw(), Moment(self._episode, self._step, self._return, ended))
        except OSError as error:
            logger.error("the recording ends, for the disk fails: %s", error.strerror or error)
            self.finish()
            return
        if len(self._frames) >= self._max_frames:
            self._thin()

    def _thin(self) -> None:
        """Keep every second picture; end the recording if even that leaves too many."""
        self._every = 2 * self._stride
        self._frames.thin(self._is_kept)
        if len(self._frames) > 3 * self._max_frames // 4:
            logger.warning(
                "the recording ends after %d of %d episodes: more do not fit into %d pictures",
                self._episode,
                self._episodes,
                self._max_frames,
            )
            self.finish()

    def _is_kept(self, moment: Moment) -> bool:
        return moment.is_last or moment.step % self._stride == 0

    def _save(self) -> None:
        if not len(self._frames):
            logger.warning("%s is not written: no episode began", self._path)
            return
        speed = self._speed or self._natural_speed
        rate = speed / math.ceil(speed / MAX_RATE)
        partial = self._path.with_name(f".{self._path.name}.partial")
        try:
            self._write(partial, self._frames, rate)
            while partial.stat().st_size > self._max_bytes and len(self._frames) > 2:
                before = len(self._frames)
                self._every = 2 * self._stride
                self._frames.thin(self._is_kept)
                if len(self._frames) == before:
                    break
                self._write(partial, self._frames, rate)
            partial.replace(self._path)
        finally:
            partial.unlink(missing_ok=True)
        logger.info("recorded %s", self._summary())

    def _summary(self) -> str:
        steps = "every step" if self._stride == 1 else f"one of {self._stride} steps"
        episodes = "1 episode" if self._episode == 1 else f"{self._episode} episodes"
        kib = self._path.stat().st_size / 1024
        return f"{episodes} to {self._path}: {len(self._frames)} pictures, {steps}, {kib:,.0f} KiB"


def writer_for(path: Path) -> Callable[[Path, Frames, float], None]:
    """Returns the writer for a file of this name; OptionError if there is none."""
    try:
        return WRITERS[path.suffix.lower()]
    except KeyError:
        raise OptionError(
            f"cannot record to {path}: the name must end with {' or '.join(WRITERS)}"
        ) from None
