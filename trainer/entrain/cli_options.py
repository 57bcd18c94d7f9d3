"""Options of the command line that are long to say, or that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from entrain.app.completion import complete_run

Run = Annotated[
    Path,
    typer.Argument(help="The run's folder, such as runs/walk.", autocompletion=complete_run),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change one option, such as policies.walker.algorithm.clip_range=0.1. "
        "Any number of times. Environment variables such as ENTRAIN__SERVER__ADDRESS do so too.",
    ),
]
Address = Annotated[str | None, typer.Option(help="Where to listen: HOST:PORT or unix:PATH.")]
Http = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Show the run in a browser while it learns, such as localhost:8080; docs/page.md.",
    ),
]
WebSocket = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Where simulators that speak WebSocket dial in, too, such as localhost:50052; that of "
        "--http shares the page's port.",
    ),
]
MaxSteps = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="End after so many steps of a behaviour's agents together. "
        "Without it, 108,000 for each episode.",
    ),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="End after so long. Without it, once no episode has ended for an hour.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines for people.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log every detail.")]
LogFormat = Annotated[
    Literal["text", "json"],
    typer.Option(
        envvar="ENTRAIN_LOG_FORMAT",
        help="Log lines for people, or one JSON object a line: time, level, message, and fields "
        "such as policy, update, env_steps and return.",
    ),
]
Record = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.gif|FILE.html",
        help="Let the launched simulators record what they show. Those in RUN/recordings are "
        "shown in the run's report.",
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic/--sample",
        help="Take the most likely action, or sample one as in training.",
    ),
]
Checkpoint = Annotated[
    Literal["newest", "best"],
    typer.Option(
        help="Whose weights: the newest, or those of the best evaluation while the run trained "
        "(docs/evaluation.md).",
    ),
]
Speed = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=10_000.0,
        help="Steps that a recording shows in a second; without it, what the simulator says.",
    ),
]
BehaviourName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Whose episodes are waited for; without it, those of all policies."
    ),
]
Lessons = Annotated[
    list[str] | None,
    typer.Option(
        "--lesson",
        metavar="PARAMETER=LESSON",
        help="Play with this lesson of an environment parameter, by name or number from 1, instead "
        "of the one that the run has reached. May be repeated.",
    ),
]
LaunchCommand = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        help="Launch this instead of the simulators in the run's configuration.",
    ),
]
FreeAddress = Annotated[
    str | None,
    typer.Option(
        help="Where to listen: HOST:PORT or unix:PATH. Without it, a free port of this machine "
        "if simulators are launched.",
    ),
]
