"""The commands train, resume, evaluate and export, as the terminal has them.

Each function blocks until it is done, prints what came of it and returns the exit code; errors are
EntrainError. What they do is in `sittings` and `trained`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from entrain.app import sittings, trained
from entrain.app.evaluation_options import EvaluationOptions, Which
from entrain.app.evaluation_results import EvaluationResult
from entrain.app.exporting import Form
from entrain.app.rank_lead import follow, leading
from entrain.app.rank_place import place_of_process
from entrain.config.run import RunConfig


def train(
    config: RunConfig, *, resume_or_start: bool = False, listening: Sequence[str] = ()
) -> int:
    """Make a run folder, and train until the run is complete or asked to stop.

    Args:
        config: every option.
        resume_or_start: if the folder of that name exists, go on with the run in it.
        listening: PATH=VALUE of where this sitting listens: a run that goes on listens there too.
    """
    place = place_of_process()
    if place is not None and place.rank:
        return follow(place, given=config)
    with leading(place) as lead:
        ended = sittings.begin(
            config, resume_or_start=resume_or_start, listening=listening, lead=lead
        )
    return ended.exit_code


def resume(run: Path, overrides: Sequence[str]) -> int:
    """Go on with the run in folder `run` from its newest valid checkpoint."""
    place = place_of_process()
    if place is not None and place.rank:
        return follow(place, given=None)
    with leading(place) as lead:
        return sittings.go_on(run, overrides, lead=lead).exit_code


def evaluate(
    run: Path,
    overrides: Sequence[str],
    options: EvaluationOptions,
    *,
    table: Path | None = None,
    as_json: bool = False,
    address: str | None = None,
) -> int:
    """Let the trained policies of folder `run` act in simulators, and print what they came to.

    Args:
        run: its folder.
        overrides: of its configuration.
        options: how to act, and when to end.
        table: see `evaluated`.
        as_json: print for programs, not for people.
        address: see `evaluated`.
    """

    def tell(result: EvaluationResult, trained_steps: int) -> None:
        console = Console()
        if as_json:
            about = {"run": str(run), "trained_steps": trained_steps, **asdict(options)}
            text = json.dumps({**about, **result.for_programs()}, allow_nan=False)
            console.out(text, highlight=False)
            return
        for line in result.lines():
            console.out(line, highlight=False)

    trained.evaluated(run, overrides, options, table=table, address=address, tell=tell)
    return 0


def export(
    run: Path, output: Path | None, *, form: Form = "onnx", checkpoint: Which = "newest"
) -> int:
    """Write the trained policies of folder `run`, and print where they are; see `exported`."""
    console = Console()
    for _, path in trained.exported(run, output, form=form, checkpoint=checkpoint):
        console.print(str(path), highlight=False, soft_wrap=True)
    return 0
