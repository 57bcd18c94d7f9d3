"""Makes the first copy of an environment a recorded one, if the command line asks for it.

This module does not import Pillow, which only recordings need.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from entrain_envs.environment import Environment
from entrain_envs.errors import MissingExtraError, OptionError

if TYPE_CHECKING:
    from entrain_envs.recording.painted import Painter
    from entrain_envs.recording.recorder import Recorder

MakeOne = Callable[[Mapping[str, Any]], Any]
"""Makes one copy from its arguments."""


def gymnasium_copies(make_one: MakeOne, options: argparse.Namespace) -> Callable[[], Any]:
    """Returns the function that makes the copies of a Gymnasium environment."""

    def record(copy: Any, recorder: "Recorder") -> Any:
        from entrain_envs.recording.rendered import RecordEpisodes  # noqa: PLC0415

        return RecordEpisodes(copy, recorder)

    return _copies(make_one, options, record)


def pettingzoo_copies(make_one: MakeOne, options: argparse.Namespace) -> Callable[[], Any]:
    """Returns the function that makes the copies of a PettingZoo environment."""

    def record(copy: Any, recorder: "Recorder") -> Any:
        from entrain_envs.recording.rendered import RecordedZoo  # noqa: PLC0415

        return RecordedZoo(copy, recorder)

    return _copies(make_one, options, record)


def painted(
    environment: Environment, options: argparse.Namespace, painter: Callable[[], "Painter"]
) -> Environment:
    """`environment`, with its agent 0 recorded if `options` ask for it."""
    if options.record is None:
        return environment
    recorder = _recorder(options)
    from entrain_envs.recording.painted import PaintedEnvironment  # noqa: PLC0415

    return PaintedEnvironment(environment, painter(), recorder)


def ball_painter() -> "Painter":
    """Draws the balance ball."""
    from entrain_envs.recording.ball_painter import BallPainter  # noqa: PLC0415

    return BallPainter()


def corridor_painter() -> "Painter":
    """Draws the cue memory."""
    from entrain_envs.recording.corridor_painter import CorridorPainter  # noqa: PLC0415

    return CorridorPainter()


def _copies(
    make_one: MakeOne, options: argparse.Namespace, record: Callable[[Any, "Recorder"], Any]
) -> Callable[[], Any]:
    if options.record is None:
        return lambda: make_one(options.kwargs)
    mode = options.kwargs.get("render_mode", "rgb_array")
    if mode != "rgb_array":
        raise OptionError(
            f"--kwargs sets render_mode to {mode!r}, and a recording needs 'rgb_array'; leave it "
            "out"
        )
    waiting = [_recorder(options)]

    def make() -> Any:
        if not waiting:
            return make_one(options.kwargs)
        return record(make_one({**options.kwargs, "render_mode": mode}), waiting.pop())

    return make


def _recorder(options: argparse.Namespace) -> "Recorder":
    try:
        from entrain_envs.recording.recorder import Recorder  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "PIL":
            raise
        raise MissingExtraError(
            "recording needs Pillow, which is not installed; install it with: pip install pillow "
            "(the extra entrain-envs[record])"
        ) from error
    return Recorder(options.record, episodes=options.record_episodes, speed=options.record_fps)
