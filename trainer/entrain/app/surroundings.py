"""The surroundings of a run in its process: signals, log, display, notices and page."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from entrain.app.given import NOTHING, Given
from entrain.app.kubeflow import KubeflowProgress, kubeflow_progress
from entrain.app.notices import Notices, notices_of
from entrain.app.outside_observers import OutsideObservers, outside_observers
from entrain.app.showing import page_of
from entrain.app.signals import StopRequest, stop_on_signals
from entrain.config.run import RunConfig
from entrain.run.display import Display
from entrain.run.folder import RunFolder
from entrain.run.json_lines import is_json_logged
from entrain.run.live_display import display_for
from entrain.run.log_lines import logging_to
from entrain.run.silent_display import SilentDisplay

if TYPE_CHECKING:
    from entrain.app.run_page import RunPage


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Whom a run tells how it goes, and who may ask it to stop."""

    console: Console
    """Writes to stdout."""

    request: StopRequest
    """Made by a signal."""

    display: Display
    """Shows how the run goes."""

    notices: Notices
    """Are sent to other programs."""

    progress: KubeflowProgress | None
    """Tells Kubeflow's trainer; None where there is none."""

    page: "RunPage | None"
    """Of the run; None if it is to have none."""

    observers: OutsideObservers
    """Whom the settings name, or a program gave."""


@contextmanager
def surroundings_of(
    config: RunConfig, folder: RunFolder, given: Given = NOTHING
) -> Iterator[Surroundings]:
    """Within the block, all of it is there, and is told of an error that leaves the block.

    Args:
        config: of the run.
        folder: of the run.
        given: by a Python program.

    Raises:
        ConfigError: something that an option names cannot be used.
    """
    console = Console(quiet=not given.is_shown)
    with (
        stop_on_signals() if given.request is None else nullcontext(given.request) as request,
        logging_to(folder.log),
        _display_for(console, given) as display,
        notices_of(config, folder) as notices,
        kubeflow_progress(config, os.environ) as progress,
        page_of(config, folder) as page,
        outside_observers(config, folder, given.observers) as observers,
    ):
        yield Surroundings(
            console=console,
            request=request,
            display=display,
            notices=notices,
            progress=progress,
            page=page,
            observers=observers,
        )


def _display_for(console: Console, given: Given) -> Display:
    if not given.is_shown:
        return SilentDisplay()
    return display_for(console, for_programs=is_json_logged())
