"""Training, evaluating and exporting from Python: what the commands of the terminal do, as calls.

Errors are raised as `EntrainError`, and nothing ends the process. Ctrl+C asks a run to stop: it is
saved, and the call returns; a second Ctrl+C gives it up at once, as KeyboardInterrupt.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any, get_args

from entrain.app import sittings, trained
from entrain.app.evaluation_options import EvaluationOptions, Which
from entrain.app.evaluation_results import EvaluationResult
from entrain.app.exporting import Form
from entrain.app.given import Given
from entrain.app.given_simulators import Simulators, read_simulators
from entrain.app.log_setup import logging_in_a_program
from entrain.app.own_loop import called_without_loop
from entrain.app.rank_place import place_of_process
from entrain.app.signals import StopRequest, stop_on_signals
from entrain.app.training_result import TrainingResult
from entrain.config.keywords import require_known
from entrain.config.load import given_config, keyword_settings
from entrain.config.run import RunConfig
from entrain.config.variables import arguments_of
from entrain.errors import ConfigError


def train(
    config: str | Path | Mapping[str, Any] | RunConfig | None = None,
    overrides: Sequence[str] = (),
    *,
    simulators: Simulators = None,
    copies: int = 8,
    observers: Sequence[object] = (),
    resume_or_start: bool = False,
    show: bool = True,
    **options: Any,
) -> TrainingResult:
    """Train a run's policies, until they are done or the run is asked to stop.

    Args:
        config: a YAML file of settings, the same as dicts, or a RunConfig; None: all defaults.
        overrides: each PATH=VALUE, as `--set` takes them.
        simulators: what takes part: a command to launch; the id of a Gymnasium environment; a
            function that makes an environment, each in a process of its own; or a list of these.
            None: as the settings say, which may be to wait for others to dial in.
        copies: of each environment that is given by id or function.
        observers: are told how it goes, see `entrain.Observer`: objects, beside those in the
            settings; or such entries as the settings have, in place of those there.
        resume_or_start: if the run's folder exists, go on with the run in it.
        show: whether to show how it goes, as the command does; False leaves only the log file.
        options: settings, with two underscores between the names of a path:
            `seed=3, server__address="localhost:0"`.

    Returns:
        Where the run is, how it ended, and how well its policies do.

    Raises:
        EntrainError: of the class that says who must act; see `entrain.errors`.
    """
    _require_one_rank("train")
    source = Path(config) if isinstance(config, str) else config
    settings = _settings(overrides, options, of=train)
    part = read_simulators(simulators, copies=copies)
    chosen = given_config(source, settings)
    if part and "address" not in chosen.server.model_fields_set:
        # Several may train on this machine, and nobody else needs to know the port.
        settings = ["server.address=localhost:0", *settings]
    named, objects = _divided(observers)
    chosen = given_config(source, [*part.settings, *settings, *named])
    asked = Given(environments=part.environments, observers=objects, is_shown=show)
    with _in_a_program(asked) as given:
        return called_without_loop(
            lambda: sittings.begin(chosen, resume_or_start=resume_or_start, given=given)
        )


def resume(
    run: str | Path,
    overrides: Sequence[str] = (),
    *,
    simulators: Simulators = None,
    copies: int = 8,
    observers: Sequence[object] = (),
    show: bool = True,
    **options: Any,
) -> TrainingResult:
    """Go on with a run that was stopped or has crashed, from its newest valid checkpoint.

    Args:
        run: its folder.
        overrides: see `train`, as all that follow.
        simulators: those given by function are given again; others are in the run's settings.
        copies: see `train`.
        observers: see `train`.
        show: see `train`.
        options: see `train`.
    """
    _require_one_rank("resume")
    part = read_simulators(simulators, copies=copies)
    named, objects = _divided(observers)
    settings = [*part.settings, *_settings(overrides, options, of=resume), *named]
    asked = Given(environments=part.environments, observers=objects, is_shown=show)
    with _in_a_program(asked) as given:
        return called_without_loop(lambda: sittings.go_on(Path(run), settings, given=given))


def evaluate(
    run: str | Path,
    overrides: Sequence[str] = (),
    *,
    episodes: int = 20,
    deterministic: bool = True,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    lessons: Sequence[str] = (),
    checkpoint: Which = "newest",
    simulators: Simulators = None,
    copies: int = 8,
    show: bool = True,
    **options: Any,
) -> EvaluationResult:
    """Let the trained policies of a run act without learning, and count their episodes.

    Args:
        run: its folder.
        overrides: see `train`.
        episodes: to play, for each behaviour.
        deterministic: whether to take the most likely action, or sample one as in training.
        max_steps: end after so many steps of a behaviour's agents together.
        max_seconds: end after so long.
        lessons: PARAMETER=LESSON of environment parameters; else those that the run has reached.
        checkpoint: newest, or that of the best evaluation while it trained.
        simulators: see `train`; None: those in the run's settings.
        copies: see `train`.
        show: see `train`.
        options: see `train`.
    """
    part = read_simulators(simulators, copies=copies)
    settings = [*part.settings, *_settings(overrides, options, of=evaluate)]
    # The run itself may still be training, at the port that it was given.
    address = "localhost:0" if part else None
    chosen = EvaluationOptions(
        episodes=episodes,
        deterministic=deterministic,
        max_steps=max_steps,
        max_seconds=max_seconds,
        lessons=tuple(lessons),
        checkpoint=checkpoint,
    )
    with _in_a_program(Given(environments=part.environments, is_shown=show)) as given:
        return called_without_loop(
            lambda: trained.evaluated(Path(run), settings, chosen, address=address, given=given)
        )


def export(
    run: str | Path,
    output: str | Path | None = None,
    *,
    form: Form = "onnx",
    checkpoint: Which = "newest",
) -> Mapping[str, Path]:
    """Write the trained policies of a run, checked against the policies that were trained.

    Args:
        run: its folder.
        output: another folder to write to than the run's own.
        form: onnx; unity, ONNX as games built with ML-Agents load it; or json, for plain policies.
        checkpoint: see `evaluate`.

    Returns:
        {behaviour: the file that was written}.
    """
    if form not in get_args(Form):
        raise ConfigError(f"form is {form!r}; it must be one of {', '.join(get_args(Form))}")
    folder = None if output is None else Path(output)
    return dict(trained.exported(Path(run), folder, form=form, checkpoint=checkpoint))


def _require_one_rank(name: str) -> None:
    if (place := place_of_process()) is not None:
        raise ConfigError(
            f"entrain.{name} is for one process, and this is {place}; start the program without "
            "torchrun, or let several learn together with: torchrun -m entrain train FILE"
        )


def _settings(
    overrides: Sequence[str], options: Mapping[str, Any], *, of: Callable[..., object]
) -> list[str]:
    """Settings of the environment variables, then those of the program, which override them.

    Args:
        overrides: of the program.
        options: keywords that are no arguments of the function.
        of: the function that was called.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"the overrides are the text {overrides!r}; give a list: [{overrides!r}]")
    arguments = [name for name in signature(of).parameters if name != "options"]
    require_known(options, function=f"entrain.{of.__name__}", arguments=arguments)
    return [*arguments_of(os.environ), *overrides, *keyword_settings(options)]


def _divided(observers: Sequence[object]) -> tuple[Sequence[str], Sequence[object]]:
    """Settings for those that are named, and those that are objects."""
    if not isinstance(observers, list | tuple):
        raise ConfigError(
            f"observers is {_shown(observers)}; give a list, such as [MyObserver()] or "
            "['my_project:MyObserver']"
        )
    for each in observers:
        if isinstance(each, type):
            raise ConfigError(
                f"observers holds the class {each.__name__}; give an object of it: "
                f"[{each.__name__}()]"
            )
    named = [each for each in observers if isinstance(each, str | Mapping)]
    objects = [each for each in observers if not isinstance(each, str | Mapping)]
    return keyword_settings({"observers": named}) if named else (), objects


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else f"a {type(value).__name__}"


@contextmanager
def _in_a_program(given: Given) -> Iterator[Given]:
    """Within the block, Ctrl+C asks what runs to stop, and people are shown what is logged."""
    with (
        logging_in_a_program(shown=given.is_shown),
        stop_on_signals(force=StopRequest.abandon) as request,
    ):
        yield replace(given, request=request)
