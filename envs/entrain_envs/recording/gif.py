"""Writes pictures as an animated GIF that begins again when it is over."""

from pathlib import Path

from entrain_envs.recording.frames import HOLD_MS, Frames
from entrain_envs.recording.palette import indexed


def write_gif(path: Path, frames: Frames, rate: float) -> None:
    """Write `frames`, `rate` of them in a second."""
    # A GIF counts hundredths of a second, and players take 0 and 1 for "slowly".
    each_ms = max(2, round(100.0 / rate)) * 10
    durations = [each_ms + HOLD_MS * moment.is_last for moment in frames.moments]
    images = indexed(frames)
    next(images).save(
        path,
        format="GIF",
        save_all=True,
        append_images=images,
        duration=durations,
        loop=0,
        disposal=1,
        optimize=True,
    )
