"""Records environments that render themselves: those of Gymnasium and of PettingZoo.

A recorded copy is wrapped, so that the last moment of an episode is seen before its reset.
"""

from typing import Any, SupportsFloat

import gymnasium
import numpy as np

from entrain_envs.errors import EntrainEnvsError, MissingExtraError, OptionError
from entrain_envs.recording.frames import Picture, as_picture
from entrain_envs.recording.recorder import Recorder

RENDER_MODE = "rgb_array"
"""The mode in which `render` returns a picture."""


class RecordEpisodes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A Gymnasium environment whose episodes are recorded."""

    def __init__(self, env: gymnasium.Env[Any, Any], recorder: Recorder) -> None:
        """Wrap `env`; OptionError if it was not made to render pictures."""
        super().__init__(env)
        self._recorder = recorder
        self._name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        require_pictures(env, self._name)
        recorder.suggest_speed(env.metadata.get("render_fps"))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset, and begin to record an episode."""
        outcome = super().reset(seed=seed, options=options)
        self._recorder.begin(self._draw)
        return outcome

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step, and record what came of it."""
        outcome = super().step(action)
        ended = bool(outcome[2]) or bool(outcome[3])
        self._recorder.step(self._draw, _total(outcome[1]), ended=ended)
        return outcome

    def close(self) -> None:
        """Write the recording, and close."""
        self._recorder.finish()
        super().close()

    def _draw(self) -> Picture:
        return _rendered(self.env, self._name)


class RecordedZoo:
    """A PettingZoo environment, parallel or in turns, whose episodes are recorded.

    Everything else is asked of the environment itself.
    """

    def __init__(self, environment: Any, recorder: Recorder) -> None:
        """Wrap `environment`; OptionError if it was not made to render pictures."""
        self.env = environment
        self._recorder = recorder
        metadata = getattr(environment, "metadata", {})
        self._name = metadata.get("name", type(environment.unwrapped).__name__)
        require_pictures(environment, self._name)
        recorder.suggest_speed(metadata.get("render_fps"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def reset(self, *args: Any, **kwargs: Any) -> Any:
        """Reset, and begin to record an episode."""
        outcome = self.env.reset(*args, **kwargs)
        self._recorder.begin(self._draw)
        return outcome

    def step(self, action: Any) -> Any:
        """Step, and record what came of it; the return is the sum over all agents."""
        outcome = self.env.step(action)
        takes_turns = not isinstance(outcome, tuple)
        # Where agents take turns, `step` returns nothing, and the rewards are an attribute.
        rewards = self.env.rewards if takes_turns else outcome[1]
        reward = sum(_total(reward) for reward in rewards.values())
        ended = not self.env.agents or (takes_turns and self._are_all_done())
        self._recorder.step(self._draw, reward, ended=ended)
        return outcome

    def _are_all_done(self) -> bool:
        """Whether there is nothing left but to take out, one by one, agents that are done."""
        done, cut = self.env.terminations, self.env.truncations
        return all(done[agent] or cut[agent] for agent in self.env.agents)

    def close(self) -> None:
        """Write the recording, and close."""
        self._recorder.finish()
        self.env.close()

    def _draw(self) -> Picture:
        return _rendered(self.env, self._name)


def require_pictures(environment: Any, name: str) -> None:
    """Raise OptionError if `environment` does not render pictures."""
    mode = getattr(environment, "render_mode", None)
    if mode == RENDER_MODE:
        return
    modes = (getattr(environment, "metadata", None) or {}).get("render_modes", [])
    raise OptionError(
        f"{name} cannot be recorded: its render mode is {mode}, and it has the modes "
        f"{', '.join(map(str, modes)) or 'none'}; expected '{RENDER_MODE}'"
    )


def _rendered(environment: Any, name: str) -> Picture:
    try:
        rendered = environment.render()
    except EntrainEnvsError:
        raise
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingExtraError(
            f"{name} needs a package to render that is not installed: {_one_line(error)}"
        ) from error
    except Exception as error:  # whatever drawing without a screen comes to
        raise OptionError(
            f"{name} cannot be recorded: its render raised {type(error).__name__}: "
            f"{_one_line(error)}"
        ) from error
    return as_picture(rendered, where=name)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:600]


def _total(reward: Any) -> float:
    """A reward as one number for the picture; zero if it is none, which others will refuse."""
    try:
        return float(np.sum(np.asarray(reward, np.float64)))
    except (TypeError, ValueError):
        return 0.0
