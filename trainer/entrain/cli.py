"""The command line: each command reads its arguments, calls one function and returns an exit code.

Commands import what they need inside themselves, so that `--help` answers at once. An
`EntrainError` becomes one line; any other exception is a bug of ours and shows its traceback.
"""

import json
import os
import signal
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from entrain import cli_control, cli_profile, cli_reference, cli_serve, cli_tune, cli_unity
from entrain.app.completion import complete_run
from entrain.app.log_setup import print_error, print_interruption, start_logging
from entrain.app.printing import print_without_failing
from entrain.cli_exit_codes import EXIT_CODES
from entrain.cli_options import (
    Address,
    AsJson,
    BehaviourName,
    Checkpoint,
    Deterministic,
    FreeAddress,
    Http,
    LaunchCommand,
    Lessons,
    LogFormat,
    MaxSeconds,
    MaxSteps,
    Record,
    Run,
    Settings,
    Speed,
    Verbose,
    WebSocket,
)
from entrain.errors import EntrainError
from entrain.importing import INTERRUPTED, interruptible
from entrain.version import __version__
from entrain_envs.grpc_lines import silence

app = typer.Typer(
    name="entrain",
    help="Train policies from simulators that dial in over gRPC or WebSocket.",
    epilog="\n".join(["Exit codes:", *(f"{code:4}  {it}" for code, it in EXIT_CODES.items())]),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def train(  # noqa: PLR0917 - read by typer, which passes them by name
    config: Annotated[
        Path | None, typer.Argument(help="YAML file of the run; without one, all defaults.")
    ] = None,
    settings: Settings = None,
    name: Annotated[str | None, typer.Option(help="Of the run and its folder.")] = None,
    address: Address = None,
    http: Http = None,
    websocket: WebSocket = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Listen beyond this machine without TLS: anyone may join."),
    ] = False,
    runs_directory: Annotated[Path | None, typer.Option(help="Where run folders are made.")] = None,
    resume_or_start: Annotated[
        bool,
        typer.Option(
            "--resume-or-start",
            help="If the run's folder exists, go on with the run in it: the same command may be "
            "given again after a crash.",
        ),
    ] = False,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Train a run's policies. Waits for simulators to connect, or launches those in the file."""
    from entrain.config.load import load_config

    start_logging(verbose=verbose, log_format=log_format)
    listening = _set_options(
        {"server.address": address, "http.address": http, "server.websocket": websocket}
    )
    overrides = [
        *_options_given(settings),
        *_set_options({"name": name, "runs_directory": runs_directory}),
        *listening,
        *(["server.insecure=true"] if insecure else []),
    ]
    run = load_config(config, overrides)
    with interruptible():
        from entrain.app import commands

    raise typer.Exit(commands.train(run, resume_or_start=resume_or_start, listening=listening))


@app.command()
def resume(  # noqa: PLR0917 - read by typer
    run: Run,
    settings: Settings = None,
    http: Http = None,
    websocket: WebSocket = None,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Continue a run that was stopped or has crashed, from its newest valid checkpoint."""
    start_logging(verbose=verbose, log_format=log_format)
    with interruptible():
        from entrain.app import commands

    listening = _set_options({"http.address": http, "server.websocket": websocket})
    overrides = [*_options_given(settings), *listening]
    raise typer.Exit(commands.resume(run, overrides))


@app.command()
def evaluate(  # noqa: PLR0917 - read by typer, which passes them by name
    run: Run,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play, per behaviour.")] = 20,
    deterministic: Deterministic = True,
    checkpoint: Checkpoint = "newest",
    max_steps: MaxSteps = None,
    max_seconds: MaxSeconds = None,
    lessons: Lessons = None,
    as_json: AsJson = False,
    table: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Where to write a row for each episode; without it, RUN/evaluation/episodes.csv.",
        ),
    ] = None,
    address: Address = None,
    settings: Settings = None,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Let the trained policies act without learning, and report their returns.

    What unfinished episodes earned so far is reported too, also after Ctrl+C and at a limit.
    """
    from entrain.app.evaluation_options import EvaluationOptions

    start_logging(verbose=verbose, log_format=log_format)
    with interruptible():
        from entrain.app import commands

    code = commands.evaluate(
        run,
        _options_given(settings),
        EvaluationOptions(
            episodes=episodes,
            deterministic=deterministic,
            max_steps=max_steps,
            max_seconds=max_seconds,
            lessons=tuple(lessons or ()),
            checkpoint=checkpoint,
        ),
        table=table,
        as_json=as_json,
        address=address,
    )
    raise typer.Exit(code)


@app.command()
def play(  # noqa: PLR0917 - read by typer, which passes them by name
    run: Run,
    record: Record = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play, and to record.")] = 1,
    deterministic: Deterministic = True,
    checkpoint: Checkpoint = "newest",
    untrained: Annotated[
        bool, typer.Option("--untrained", help="With the weights that training began with.")
    ] = False,
    fps: Speed = None,
    behaviour: BehaviourName = None,
    launch: LaunchCommand = None,
    max_steps: MaxSteps = None,
    max_seconds: MaxSeconds = None,
    lessons: Lessons = None,
    address: FreeAddress = None,
    settings: Settings = None,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Let the trained policies act in one copy of their simulators, to look at it or record it."""
    from entrain.app.evaluation_options import EvaluationOptions, PlayOptions

    start_logging(verbose=verbose, log_format=log_format)
    with interruptible():
        from entrain.app import playing

    code = playing.play(
        run,
        _options_given(settings),
        EvaluationOptions(
            episodes=episodes,
            deterministic=deterministic,
            max_steps=max_steps,
            max_seconds=max_seconds,
            lessons=tuple(lessons or ()),
            checkpoint=checkpoint,
            behaviour=behaviour,
        ),
        PlayOptions(record=record, speed=fps, untrained=untrained, launch=launch),
        address=address,
    )
    raise typer.Exit(code)


@app.command()
def export(  # noqa: PLR0917 - read by typer, which passes them by name
    run: Run,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; without it, inside the run's.")
    ] = None,
    form: Annotated[
        Literal["onnx", "unity", "json"],
        typer.Option(
            "--format",
            help="unity: as games built with ML-Agents load it; json: plain policies, for programs "
            "without ONNX. docs/export.md.",
        ),
    ] = "onnx",
    checkpoint: Checkpoint = "newest",
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Export the policies of a run as ONNX or JSON, checked against the trained policies."""
    start_logging(verbose=verbose, log_format=log_format)
    with interruptible():
        from entrain.app import commands

    raise typer.Exit(commands.export(run, output, form=form, checkpoint=checkpoint))


@app.command()
def info(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="A run's folder; without one, this installation.", autocompletion=complete_run
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is installed here; or a run's state, progress, checkpoints and files."""
    start_logging(verbose=False)
    from entrain.app import info

    if as_json:
        about = {"installation": list(info.describe_installation())}
        typer.echo(json.dumps(about if run is None else info.run_for_programs(run)))
        return
    lines = info.describe_installation() if run is None else info.describe_run(run)
    for line in lines:
        typer.echo(line)


@app.command(name="list")
def list_(
    runs_directory: Annotated[
        Path,
        typer.Argument(help="The folder in which the runs are; or one that `entrain serve` has."),
    ] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List the runs in a folder, newest first: state, steps, return, start and duration."""
    start_logging(verbose=False)
    from entrain.supervise import listing

    if as_json:
        typer.echo(json.dumps(listing.for_programs(runs_directory)))
        return
    for line in listing.lines(runs_directory):
        typer.echo(line)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"entrain {__version__}")


def _options_given(settings: Sequence[str] | None) -> list[str]:
    """Returns what the environment says, and then what `--set` does, which counts."""
    from entrain.config.variables import arguments_of

    return [*arguments_of(os.environ), *(settings or ())]


def _set_options(shortcuts: Mapping[str, object]) -> list[str]:
    """Returns those that are given, {path: value}, in the form of --set."""
    # JSON text is YAML text, whatever is in it.
    return [f"{path}={json.dumps(str(it))}" for path, it in shortcuts.items() if it is not None]


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


cli_reference.register(app)
cli_unity.register(app)
cli_profile.register(app)
cli_serve.register(app)
cli_tune.register(app)
cli_control.register(app)


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Never raises.

    Args:
        arguments: those after the program's name; None takes the arguments of this process.
    """
    silence()
    print_without_failing()
    try:
        with _signals_as_interrupts():
            app(args=None if arguments is None else list(arguments), prog_name="entrain")
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        if code == INTERRUPTED:  # typer makes this of an interrupt
            print_interruption()
        return code
    except EntrainError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:  # the outermost place: every bug ends here
        traceback.print_exc()
        typer.echo(
            "entrain: this is a bug in entrain, not in your configuration; please report it "
            "with the lines above and what `entrain info` says",
            err=True,
        )
        return EntrainError.exit_code
    return 0


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Until a run handles the signals itself, SIGTERM ends the program as Ctrl+C does.

    Process 1 of a container has no default handler: SIGTERM would be ignored while torch loads.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
