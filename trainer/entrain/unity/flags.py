"""The flags of mlagents-learn with the key of the YAML file that each sets, and flags of our own.

Quick to import: the command line reads it before anything else.
"""

from dataclasses import dataclass
from typing import Final

ENV_ARGS: Final = "--env-args"
"""All arguments behind it go to the game."""

DETERMINISTIC: Final = "--deterministic"
"""Sets a key of every behaviour."""


@dataclass(frozen=True)
class Flag:
    """One flag."""

    key: str
    """Such as "env_settings.base_port"; "" if it sets none."""

    kind: type[str] | type[int] | type[float] | type[bool]
    """Type of its value; a bool takes none."""

    help: str

    other_name: str = ""
    """Name of the flag if it differs from the key's; else ""."""

    panel: str = ""
    """Its heading in the help; "" for most flags."""

    outdated: str = ""
    """Warning to users of an outdated flag; else ""."""

    option: str = ""
    """Path of the native option that it sets if ML-Agents has no key for it; else ""."""

    @property
    def name(self) -> str:
        """The flag as users type it: --base-port."""
        return self.other_name or f"--{self.key.rpartition('.')[2].replace('_', '-')}"

    @property
    def path(self) -> tuple[str, ...]:
        """Path of its native option."""
        return tuple(self.option.split("."))

    @property
    def metavar(self) -> str:
        """The placeholder of its value in the help."""
        return {int: "N", float: "X"}.get(self.kind, self.name.rpartition("-")[2].upper())


_CHECKPOINT, _ENV, _ENGINE = "checkpoint_settings", "env_settings", "engine_settings"
_OF_ENGINE: Final = "engine"
_OURS: Final = "of entrain only"
_OLD: Final = "of older scripts"
_NO_EFFECT: Final = "has no effect: there is one framework"

EDITOR_PORT: Final = Flag(
    "",
    int,
    "Editor Port of the project's ML-Agents settings [5004]",
    "--editor-port",
    _OURS,
    option="unity.port",
)
MAX_MESSAGE: Final = Flag(
    "",
    float,
    "longest message taken from a game, in MiB [256]",
    "--receive-mib",
    _OURS,
    option="server.max_message_mib",
)

HTTP: Final = Flag(
    "",
    str,
    "show the run in a browser, such as localhost:8080",
    "--http",
    _OURS,
    option="http.address",
)

FLAGS: Final = (
    Flag(f"{_ENV}.env_path", str, "build to start; without it, press Play in the Editor", "--env"),
    Flag(f"{_CHECKPOINT}.run_id", str, "name of the run and its folder [ppo]"),
    Flag(f"{_CHECKPOINT}.resume", bool, "go on with the run of that name"),
    Flag(f"{_CHECKPOINT}.force", bool, "overwrite the run of that name"),
    Flag(f"{_CHECKPOINT}.initialize_from", str, "run whose weights this one begins with"),
    Flag(f"{_CHECKPOINT}.inference", bool, "with --resume: act without learning, until Ctrl+C"),
    Flag("", bool, "with --inference: take the most likely actions", DETERMINISTIC),
    Flag(f"{_CHECKPOINT}.results_dir", str, "where the folders of runs are made [results]"),
    Flag(f"{_ENV}.seed", int, "-1 draws one [-1]"),
    Flag(f"{_ENV}.base_port", int, "port of the first build [5005]"),
    Flag(f"{_ENV}.num_envs", int, "how often the build is started [1]"),
    Flag(f"{_ENV}.num_areas", int, "training areas inside each game [1]"),
    Flag(f"{_ENV}.timeout_wait", float, "seconds to wait for a game [60]"),
    Flag(f"{_ENV}.max_lifetime_restarts", int, "of each game that crashes; -1: any [10]"),
    Flag(f"{_ENV}.restarts_rate_limit_n", int, "of each game in a period; -1: any [1]"),
    Flag(f"{_ENV}.restarts_rate_limit_period_s", float, "that period, in seconds [60]"),
    Flag("torch_settings.device", str, "cpu or cuda [cuda, if there is one]", "--torch-device"),
    Flag("debug", bool, "log every detail"),
    Flag(f"{_ENGINE}.width", int, "of the window, in pixels [84]", panel=_OF_ENGINE),
    Flag(f"{_ENGINE}.height", int, "of the window, in pixels [84]", panel=_OF_ENGINE),
    Flag(f"{_ENGINE}.quality_level", int, "of the Unity project's levels [5]", panel=_OF_ENGINE),
    Flag(f"{_ENGINE}.time_scale", float, "times real time [20]", panel=_OF_ENGINE),
    Flag(f"{_ENGINE}.target_frame_rate", int, "-1: as many as it can [-1]", panel=_OF_ENGINE),
    Flag(f"{_ENGINE}.capture_frame_rate", int, "of the game's clock [60]", panel=_OF_ENGINE),
    Flag(f"{_ENGINE}.no_graphics", bool, "start builds without graphics", panel=_OF_ENGINE),
    Flag(f"{_ENGINE}.no_graphics_monitor", bool, "all but the first", panel=_OF_ENGINE),
    EDITOR_PORT,
    MAX_MESSAGE,
    HTTP,
    Flag(
        f"{_CHECKPOINT}.load_model",
        bool,
        "now --resume",
        "--load",
        _OLD,
        "is an old name of --resume",
    ),
    Flag(
        f"{_CHECKPOINT}.train_model",
        bool,
        "learning is the default",
        "--train",
        _OLD,
        "has no effect: without --inference, policies learn",
    ),
    Flag("", bool, "without effect", "--torch", _OLD, _NO_EFFECT),
    Flag("", bool, "without effect", "--tensorflow", _OLD, _NO_EFFECT),
)


def name_of(key: str) -> str:
    """The flag that sets the key."""
    return next((flag.name for flag in FLAGS if flag.key == key), ENV_ARGS)
