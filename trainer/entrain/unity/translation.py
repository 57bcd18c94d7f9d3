"""Translates a file of ML-Agents settings into one `RunConfig`.

A behaviour's part is in `policy_translation`, and that of environment parameters in
`parameter_translation`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from entrain.config.messages import config_error
from entrain.config.run import RunConfig
from entrain.config.source import OptionPath, Origin, Source
from entrain.errors import ConfigError
from entrain.unity.draft import Draft
from entrain.unity.flags import Flag
from entrain.unity.missing import require_nothing_missing
from entrain.unity.parameter_translation import translate_parameters
from entrain.unity.policy_translation import translate_trainer
from entrain.unity.stock_file import StockFile
from entrain.unity.stock_run import StockRun
from entrain.unity.stock_trainer import StockPPOTrainer, StockSACTrainer, StockTrainer

DEFAULT_EDITOR_PORT: Final = 5004
"""The Unity Editor dials it, whatever base_port says."""

NO_FLAGS: Final[Mapping[Flag, int | float | str]] = MappingProxyType({})

EDITOR_WAIT_S: Final = 7 * 24 * 3600.0
"""A week: users press Stop in the Editor, make a change, and press Play again."""


@dataclass(frozen=True)
class Translation:
    """A run's options, with the origin of each."""

    config: RunConfig

    remarks: Mapping[OptionPath, str]
    """{path: the key of ML-Agents, or its way of doing things}, for every option that is set."""

    notes: Sequence[str]
    """Sentences about settings that have no native equivalent."""


def translate(
    file: StockFile,
    *,
    seed: int | None = None,
    behaviours: Sequence[str] = (),
    own: Mapping[Flag, int | float | str] = NO_FLAGS,
) -> Translation:
    """Translate settings; ConfigError names every part that is not implemented.

    Args:
        file: of ML-Agents settings.
        seed: replaces -1, which asks for a new seed in each run; None: the default.
        behaviours: those whose policies are wanted; empty for all.
        own: {flag of ours: its value}.
    """
    trainers = _trainers(file, behaviours)
    require_nothing_missing(file, trainers)
    draft = Draft()
    _translate_checkpoint_settings(draft, file.run)
    _translate_torch_settings(draft, file)
    _translate_seed(draft, file.run, seed)
    _translate_environment(draft, file.run)
    _translate_engine(draft, file.run)
    translate_parameters(draft, file.run.environment_parameters)
    _translate_checkpoints(draft, trainers)
    for name, trainer in trainers.items():
        assert isinstance(trainer, StockPPOTrainer | StockSACTrainer)  # others are missing
        translate_trainer(draft, name, trainer)
        _translate_initial_weights(draft, name, trainer, file.run)
    for flag, value in own.items():
        draft.set(flag.option, value, flag.name)
    return Translation(_validated(draft, file, own), draft.remarks, tuple(draft.notes))


def _trainers(file: StockFile, wanted: Sequence[str]) -> Mapping[str, StockTrainer]:
    """{behaviour, or "*" for every other one: its settings}."""
    run = file.run
    trainers: dict[str, StockTrainer] = dict(run.behaviors)
    if run.default_settings is not None:
        trainers["*"] = run.default_settings
    elif not file.is_given:
        trainers["*"] = StockPPOTrainer()
    if not trainers:
        raise ConfigError(
            f"{file.place(('behaviors',))}: there are no behaviors and no default_settings; name "
            "the behavior of your game, as in 'behaviors: {3DBall: {trainer_type: ppo}}'"
        )
    for name in wanted:
        if name not in trainers and "*" not in trainers:
            raise ConfigError(
                f"{file.source.whole.place}: there is no behavior '{name}' (it has: "
                f"{', '.join(trainers)})"
            )
    chosen = {name: trainers.get(name, trainers.get("*")) for name in wanted}
    return {name: it for name, it in chosen.items() if it is not None} or trainers


def _translate_checkpoint_settings(draft: Draft, run: StockRun) -> None:
    asked = run.checkpoint_settings
    run_id = PurePath(asked.run_id)
    folder = PurePath(asked.results_dir, run_id.parent)
    is_named = "run_id" in asked.model_fields_set
    draft.set("name", run_id.name, "run_id" if is_named else "no run_id is given; choose a name")
    draft.set("runs_directory", str(folder), "results_dir")


def _translate_initial_weights(
    draft: Draft, behaviour: str, trainer: StockTrainer, run: StockRun
) -> None:
    """Of initialize_from, the folder of a run; of init_path, a file in it or anywhere."""
    asked, file = run.checkpoint_settings, trainer.init_path
    policy: OptionPath = ("policies", behaviour)
    if asked.initialize_from is None:
        if file is not None:
            draft.set("initial_weights", file, "init_path", within=policy)
        return
    folder = PurePath(asked.results_dir, asked.initialize_from)
    if file is None:
        draft.set("initial_weights", str(folder), "initialize_from", within=policy)
    elif PurePath(file).name != file:
        draft.set("initial_weights", file, "init_path", within=policy)
    elif behaviour != "*":
        path = folder / behaviour / file
        draft.set("initial_weights", str(path), "initialize_from, init_path", within=policy)
    else:
        draft.set("initial_weights", str(folder), "initialize_from", within=policy)
        draft.notes.append(
            f"init_path {file} of default_settings counts for behaviors that the file names; for "
            "others it is checkpoint.pt"
        )


def _translate_torch_settings(draft: Draft, file: StockFile) -> None:
    device = file.run.torch_settings.device
    match device:
        case None:
            draft.set("device", "auto", "torch_settings.device: the GPU, if there is one")
        case "cpu" | "cuda":
            draft.set("device", device, "torch_settings.device")
        case "cuda:0":
            draft.set("device", "cuda", "torch_settings.device")
        case _:
            number = device.removeprefix("cuda:")
            remedy = "write cpu or cuda"
            if number != device and number.isdecimal():
                remedy = f"write cuda, and set CUDA_VISIBLE_DEVICES={number} before the command"
            place = file.place(("torch_settings", "device"))
            raise ConfigError(f"{place}: torch_settings.device is '{device}'; {remedy}")


def _translate_seed(draft: Draft, run: StockRun, seed: int | None) -> None:
    asked = run.env_settings.seed
    if asked >= 0:
        draft.set("seed", asked, "env_settings.seed")
    elif seed is not None:
        draft.set("seed", seed, "env_settings.seed: -1, so it was drawn")
    else:
        draft.notes.append("seed -1 asks for another seed in each run; here it has its default")


def _translate_environment(draft: Draft, run: StockRun) -> None:
    asked, engine = run.env_settings, run.engine_settings
    is_launched = asked.env_path is not None
    if is_launched:
        draft.set("unity.port", asked.base_port, "env_settings.base_port")
    else:
        draft.set("unity.port", DEFAULT_EDITOR_PORT, "the Editor's port")
        draft.set("simulators.wait_s", EDITOR_WAIT_S, "the Editor may be stopped for long")
    draft.set("simulators.bring_all", False, "as mlagents-learn does")
    draft.set("unity.games", asked.num_envs, "env_settings.num_envs")
    draft.set("unity.timeout_s", asked.timeout_wait, "env_settings.timeout_wait")
    draft.set("unity.num_areas", asked.num_areas, "env_settings.num_areas")
    if not is_launched:
        return
    launch: OptionPath = ("unity", "launch")
    for path, value, remark in (
        ("path", asked.env_path, "env_settings.env_path"),
        ("arguments", list(asked.env_args or ()), "env_settings.env_args"),
        ("no_graphics", engine.no_graphics, "engine_settings.no_graphics"),
        ("no_graphics_monitor", engine.no_graphics_monitor, "engine_settings.no_graphics_monitor"),
        ("max_lifetime_restarts", asked.max_lifetime_restarts, "env_settings"),
        ("restarts_rate_limit", asked.restarts_rate_limit_n, "env_settings.restarts_rate_limit_n"),
        (
            "restarts_period_s",
            asked.restarts_rate_limit_period_s,
            "env_settings.restarts_rate_limit_period_s",
        ),
    ):
        draft.set(path, value, remark, within=launch)


def _translate_engine(draft: Draft, run: StockRun) -> None:
    asked = run.engine_settings
    # A game takes a slower clock for 1.
    time_scale = max(1.0, asked.time_scale)
    for name, value in (
        ("width", asked.width),
        ("height", asked.height),
        ("quality_level", asked.quality_level),
        ("time_scale", time_scale),
        ("target_frame_rate", asked.target_frame_rate),
        ("capture_frame_rate", asked.capture_frame_rate),
    ):
        draft.set(f"unity.engine.{name}", value, "engine_settings")


def _translate_checkpoints(draft: Draft, trainers: Mapping[str, StockTrainer]) -> None:
    intervals = {name: checkpoint_interval(trainer) for name, trainer in trainers.items()}
    kept = {trainer.keep_checkpoints for trainer in trainers.values()}
    draft.set("checkpoints.every_steps", min(intervals.values()), "checkpoint_interval")
    draft.set("checkpoints.keep", max(kept), "keep_checkpoints")
    if len(set(intervals.values())) > 1 or len(kept) > 1:
        draft.notes.append(
            "behaviors differ in checkpoint_interval or keep_checkpoints; a checkpoint holds all "
            "policies, so the shortest interval and the largest number count"
        )


def checkpoint_interval(trainer: StockTrainer) -> int:
    """Returns the steps between two checkpoints of a behaviour."""
    if trainer.even_checkpoints:
        return max(1, trainer.max_steps // trainer.keep_checkpoints)
    return trainer.checkpoint_interval


def _validated(draft: Draft, file: StockFile, own: Mapping[Flag, int | float | str]) -> RunConfig:
    try:
        return RunConfig.model_validate(draft.values)
    except ValidationError as error:
        # What ML-Agents allows and we do not; its words for it are in the message's path.
        place = Origin(f"{file.source.whole.place}, translated", (0, 0), "")
        given: dict[OptionPath, Origin] = {
            flag.path: Origin(flag.name, (1, 0), str(value)) for flag, value in own.items()
        }
        raise config_error(error, Source(draft.values, place, given)) from None
