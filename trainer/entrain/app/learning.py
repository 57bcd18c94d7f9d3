"""`entrain learn`: mlagents-learn's command, which trains in results/RUN_ID.

It decides what the run begins with, as mlagents-learn does; the training is that of every run.
"""

import json
import logging
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from entrain.app import commands, sittings
from entrain.app.command_words import CommandWords, words_of_learn
from entrain.app.evaluation_options import ENDLESS, EvaluationOptions
from entrain.app.game_results import make_results
from entrain.app.initial_weights import begun_behaviours, is_run, require_initial_weights
from entrain.app.rank_place import place_of_process
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, EntrainError
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.folder import RunFolder
from entrain.run.lock import RunLock
from entrain.unity.flags import EDITOR_PORT, Flag
from entrain.unity.results.recorder import ResultsRecorder
from entrain.unity.results.tree import LOGS
from entrain.unity.stock_file import StockFile
from entrain.unity.stock_progress import is_of_entrain, is_stock_run, with_stock_progress
from entrain.unity.stock_run import StockRun
from entrain.unity.translation import DEFAULT_EDITOR_PORT, NO_FLAGS, translate

logger = logging.getLogger(__name__)

LARGEST_SEED = 9999
"""A seed that nobody gave is drawn from 0 to this."""

_ENDLESS_S = 10 * 365 * 24 * 3600.0


def learn(
    file: StockFile, *, deterministic: bool, own: Mapping[Flag, int | float | str] = NO_FLAGS
) -> int:
    """Train, go on, or act without learning, as the settings ask; returns the exit code.

    Args:
        file: of ML-Agents settings, with what the command line changed.
        deterministic: acting without learning, take the most likely actions.
        own: {flag that mlagents-learn does not have: its value}.
    """
    _require_one_rank()
    asked = file.run.checkpoint_settings
    file = _with_a_game_for_each(file)
    _require_right_port(file, own)
    seed = random.randint(0, LARGEST_SEED)
    translation = translate(file, seed=seed, own=own)
    config = translation.config
    path = Path(config.runs_directory, config.name)
    _require_run(path, file.run)
    for note in translation.notes:
        logger.info("%s", note)
    if asked.inference:
        is_deterministic = deterministic or _is_deterministic(file.run)
        return _act(path, config, file, deterministic=is_deterministic, own=own)
    if deterministic:
        logger.warning("--deterministic has no effect without --inference: learning explores")
    if not asked.resume:
        return _begin(path, config, file)
    if not is_run(path) and is_stock_run(path):
        return _go_on_from_stock(path, config, file)
    return _go_on(path, config, file, own)


def _require_one_rank() -> None:
    if (place := place_of_process()) is not None:
        raise ConfigError(
            f"entrain learn is for one rank, and this is {place}; start it without torchrun, or "
            "convert the settings (entrain convert) and train them with torchrun -m entrain train"
        )


def _with_a_game_for_each(file: StockFile) -> StockFile:
    """The settings with one game, if none is named that could be started more often.

    Raises:
        ConfigError: the command line asks for more; a file may be meant for a build as well.
    """
    asked = file.run.env_settings
    if asked.num_envs == 1 or asked.env_path is not None:
        return file
    place = file.place(("env_settings", "num_envs"))
    words = f"num_envs is {asked.num_envs} and no game is named, so the Editor's one is waited for"
    if place.startswith("--"):
        raise ConfigError(f"{place}: {words}; name a build with --env, or leave {place} out")
    logger.warning("%s: %s", place, words)
    one = asked.model_copy(update={"num_envs": 1})
    return replace(file, run=file.run.model_copy(update={"env_settings": one}))


def _require_right_port(file: StockFile, own: Mapping[Flag, int | float | str]) -> None:
    """Games that are started dial one port, and the Editor dials another.

    Raises:
        ConfigError: the Editor's is given, and a build.
    """
    if file.run.env_settings.env_path is not None:
        if EDITOR_PORT in own:
            raise ConfigError(
                f"{EDITOR_PORT.name} is where the Editor dials, and --env names a build, which "
                "dials --base-port; leave one of the two out"
            )
        return
    place = file.place(("env_settings", "base_port"))
    if place.startswith("--"):
        port = own.get(EDITOR_PORT, DEFAULT_EDITOR_PORT)
        logger.warning(
            "%s has no effect without --env: the Editor dials %g; if its project's ML-Agents "
            "settings name another Editor Port, give that with %s",
            place,
            port,
            EDITOR_PORT.name,
        )


def _require_run(path: Path, run: StockRun) -> None:
    """ConfigError if the folder holds a run that would be overwritten, or none to go on with."""
    asked = run.checkpoint_settings
    if asked.inference and not asked.resume:
        raise ConfigError(
            "--inference acts with policies that were trained; add --resume, with the --run-id "
            "of their run"
        )
    if asked.resume:
        _require_run_to_resume(path)
    elif path.is_dir() and any(path.iterdir()) and not asked.force:
        raise ConfigError(
            f"{path} holds an earlier run; go on with it with --resume, overwrite it with "
            "--force, or give another --run-id"
        )


def _require_run_to_resume(path: Path) -> None:
    # What is wrong with checkpoints of ours is said when they are read.
    if not is_run(path) and not is_stock_run(path) and not (path / "config.yaml").is_file():
        raise ConfigError(
            f"there is no run of entrain in {path} to resume, and none of mlagents-learn with a "
            "checkpoint.pt; give the --run-id of one, or leave --resume out to begin it"
        )


def _require_sources(path: Path, config: RunConfig) -> None:
    """ConfigError if weights to begin with are not there, or go with the run that is overwritten.

    Called before anything is removed.
    """
    require_initial_weights(config, begun=frozenset())
    for options in config.policies.values():
        source = options.initial_weights
        if source is not None and source.resolve().is_relative_to(path.resolve()):
            raise ConfigError(
                f"{source} is overwritten by the run that would begin with its weights; give that "
                "run another --run-id, or go on with --resume"
            )


def _begin(path: Path, config: RunConfig, file: StockFile) -> int:
    _require_sources(path, config)
    folder, is_new = RunFolder.named(path.parent, path.name)
    folder.keep_logs_in(LOGS)
    try:
        with folder.lock() as lock:
            if not is_new:
                _remove(folder)
            results = make_results(folder, lock, config, file.run, goes_on=False)
            return _train(folder, config, lock, results, file)
    except EntrainError:
        if is_new:
            folder.remove_if_nothing_came_of_it()
        raise


def _remove(folder: RunFolder) -> None:
    """Make way for a run, as --force asks; an empty folder needs none."""
    is_of_entrain, is_empty = folder.config.is_file(), not any(folder.path.glob("*/*"))
    folder.clear()
    if is_of_entrain:
        logger.info("--force: the run that was in %s is removed", folder.path)
    elif not is_empty:
        logger.info(
            "--force: models and curves that are in %s are removed where this run writes its own; "
            "other files stay",
            folder.path,
        )


def _go_on(
    path: Path, config: RunConfig, file: StockFile, own: Mapping[Flag, int | float | str]
) -> int:
    """Resume with the settings that are given now, but for a seed that nobody gave."""
    folder = RunFolder.existing(path)
    folder.keep_logs_in(LOGS)
    before = load_config(folder.config, [])
    if file.run.env_settings.seed < 0:
        config = translate(file, seed=before.seed, own=own).config
    config = _with_beginnings_of(before, config)
    with folder.lock() as lock:
        store = CheckpointStore(folder.checkpoints, keep=config.checkpoints.keep)
        restored = store.load_newest()
        logger.info("going on from %s", restored.path)
        results = make_results(folder, lock, config, file.run, goes_on=True, is_restored=True)
        return _train(folder, config, lock, results, file, restored=restored)


def _with_beginnings_of(before: RunConfig, config: RunConfig) -> RunConfig:
    """The settings with the initial weights of then.

    They count for policies that no game had brought when the run was stopped.
    """
    policies = dict(config.policies)
    for name, options in before.policies.items():
        if name in policies and options.initial_weights is not None:
            kept = {key: getattr(options, key) for key in ("initial_weights", "initial_progress")}
            policies[name] = policies[name].model_copy(update=kept)
    return config.model_copy(update={"policies": policies})


def _words(file: StockFile) -> CommandWords:
    asked = file.run.checkpoint_settings
    return words_of_learn(
        asked.run_id,
        results_dir=Path(asked.results_dir),
        settings=file.source.whole.place if file.is_given else "a file of settings",
    )


def _go_on_from_stock(path: Path, config: RunConfig, file: StockFile) -> int:
    """Go on where mlagents-learn was, in the same folder; its own files stay as they are."""
    if is_of_entrain(path):
        logger.warning(
            "%s has no checkpoint of entrain any more, so policies go on from their checkpoint.pt: "
            "weights, statistics of observations, Adam's moments and env steps. What was collected "
            "and not learned from is lost, and episodes.csv, random numbers and the run's "
            "time begin anew",
            path,
        )
    else:
        logger.info("going on from what mlagents-learn left in %s", path)
    folder, _ = RunFolder.named(path.parent, path.name)
    folder.keep_logs_in(LOGS)
    with folder.lock() as lock:
        config = with_stock_progress(config, path)
        results = make_results(folder, lock, config, file.run, goes_on=True)
        return _train(folder, config, lock, results, file)


def _train(
    folder: RunFolder,
    config: RunConfig,
    lock: RunLock,
    results: ResultsRecorder,
    file: StockFile,
    *,
    restored: Loaded | None = None,
) -> int:
    # The results have the models that games load; entrain's own are written by `entrain export`.
    ended = sittings.train_in(
        folder,
        config,
        lock,
        restored=restored,
        observer=results,
        words=_words(file),
        exports=False,
    )
    return ended.exit_code


def _take_over_stock(path: Path, config: RunConfig, file: StockFile) -> None:
    """Let a checkpoint of ours hold the policies that mlagents-learn left.

    What a game sees, and with it a policy's form, is known once it has joined: so it plays until
    then, in a run that has its total steps.
    """
    logger.info(
        "a checkpoint is made of each checkpoint.pt in %s: the game is ended once it has "
        "joined, and then started again (in the Editor, press Play again)",
        path,
    )
    config = with_stock_progress(config, path)
    policies = {
        name: it.model_copy(update={"total_steps": 1}) for name, it in config.policies.items()
    }
    folder, _ = RunFolder.named(path.parent, path.name)
    folder.keep_logs_in(LOGS)
    with folder.lock() as lock:
        made = config.model_copy(update={"policies": policies})
        words = _words(file)
        sittings.train_in(folder, made, lock, restored=None, words=words, exports=False)


def _holds_policies(path: Path) -> bool:
    """Whether a game had joined before the run's newest checkpoint of ours."""
    store = CheckpointStore(RunFolder(path).checkpoints, keep=1)
    return is_run(path) and bool(begun_behaviours(store.load_newest()))


def _is_deterministic(run: StockRun) -> bool:
    trainers = [*run.behaviors.values(), run.default_settings]
    return any(it.network_settings.deterministic for it in trainers if it is not None)


def _act(
    path: Path,
    config: RunConfig,
    file: StockFile,
    *,
    deterministic: bool,
    own: Mapping[Flag, int | float | str],
) -> int:
    """Let the policies of the run in `path` act until Ctrl+C."""
    if is_stock_run(path) and not _holds_policies(path):
        _take_over_stock(path, config, file)
    settings = {
        "unity": config.unity.model_dump(mode="json") if config.unity else None,
        "simulators": config.simulators.model_dump(mode="json"),
        "device": config.device,
        **{flag.option: value for flag, value in own.items()},
    }
    return commands.evaluate(
        path,
        [f"{name}={json.dumps(value)}" for name, value in settings.items()],
        EvaluationOptions(episodes=ENDLESS, deterministic=deterministic, max_seconds=_ENDLESS_S),
    )
