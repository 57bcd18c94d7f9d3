"""The commands of a run of several ranks: rank 0 leads, and the others follow.

Rank 0 does what a run of one rank does: it has the folder, the display, the page and the results.
The others take configuration and checkpoint from it, and have a folder of their own in the run's,
on their own machine, for their log, their episodes and what their simulators print.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from entrain.app.apart import Apart
from entrain.app.build import checked, make_launcher
from entrain.app.launcher import Launcher
from entrain.app.log_setup import print_error, quieten
from entrain.app.process import prepared_process
from entrain.app.program_environments import ProgramEnvironment, processes_of
from entrain.app.rank_meeting import Meeting, meeting_of
from entrain.app.rank_place import RankPlace, config_of_rank
from entrain.app.rank_states import of_rank, require_size
from entrain.app.run_results import exit_code_of
from entrain.app.signals import StopRequest, stop_on_signals
from entrain.app.together import Together
from entrain.app.training import TrainingRun
from entrain.config.differences import differences
from entrain.config.load import load_config, to_yaml
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, EntrainError
from entrain.run.checkpoint import Loaded
from entrain.run.display import Display
from entrain.run.folder import RunFolder
from entrain.run.log_lines import logging_to
from entrain.run.silent_display import SilentDisplay
from entrain.run.state_files import decode_state, encode_state
from entrain.run.summary import Outcome

logger = logging.getLogger(__name__)

_BEGIN = "begin"
_THREADS_S = 2.0


@dataclass(frozen=True)
class Lead:
    """Rank 0, before its run begins."""

    meeting: Meeting


@dataclass(frozen=True)
class Part:
    """The part of a run that this process does."""

    config: RunConfig
    restored: Loaded | None
    together: Apart


@contextmanager
def leading(place: RankPlace | None) -> Iterator[Lead | None]:
    """Within the block, the other ranks wait to be told of the run; None if there are none."""
    if place is None:
        yield None
        return
    with _leaving_none_behind(), meeting_of(place) as meeting:
        yield Lead(meeting)


def begin_together(
    lead: Lead | None, config: RunConfig, folder: RunFolder, restored: Loaded | None
) -> Part:
    """Tell the other ranks what they are to do; returns rank 0's part.

    Raises:
        ConfigError, CheckpointError: there are too few simulators, or it is of other ranks.
    """
    if lead is None:
        return Part(config, restored, Apart())
    meeting = lead.meeting
    place = meeting.place
    # First: whoever has the wrong number of ranks is not to be told of anything else.
    states = _states_of_ranks(restored, place.size)
    own = config_of_rank(config, place)
    for rank, state in enumerate(states[1:], start=1):
        about = {"config": to_yaml(config), "folder": str(folder.path), "step": -1, "path": ""}
        if state is None:
            meeting.leave(f"{_BEGIN}/{rank}", about)
            continue
        document, tensors = encode_state(state.state)
        about |= {"step": state.step, "path": str(state.path), "document": len(document)}
        meeting.leave(f"{_BEGIN}/{rank}", about, document + tensors)
    return Part(own, states[0], Together(meeting, config))


def _states_of_ranks(restored: Loaded | None, size: int) -> Sequence[Loaded | None]:
    """The states from which the ranks go on."""
    if restored is None:
        return [None] * size
    with checked(restored.path):
        require_size(restored, size)
        return [of_rank(restored, rank) for rank in range(size)]


def launcher_of(
    part: Part,
    folder: RunFolder,
    address: str,
    request: StopRequest,
    environments: Sequence[ProgramEnvironment] = (),
) -> Launcher:
    """Makes the launcher of the simulators of this process, and of `environments`.

    They are killed if the process has to end at once.
    """
    launcher = make_launcher(part.config, folder, address, indices=part.together.place.indices)
    launcher.add(processes_of(environments, logs=folder.simulators))
    request.before_force = launcher.kill
    return launcher


def follow(place: RankPlace, *, given: RunConfig | None) -> int:
    """Be a rank other than the first, until the run ends; returns the exit code.

    Args:
        place: of this process.
        given: what its command line describes; rank 0's counts.
    """
    with _leaving_none_behind(), meeting_of(place) as meeting:
        about, blob = meeting.find(f"{_BEGIN}/{place.rank}")
        folder = _folder_of(Path(str(about["folder"])), place)
        folder.write_config(str(about["config"]))
        config = load_config(folder.config, [])
        _compare(given, config, place)
        restored = None
        if int(about["step"]) >= 0:
            length = int(about["document"])
            state = decode_state(blob[:length], blob[length:])
            restored = Loaded(state, int(about["step"]), Path(str(about["path"])), ())
        part = Part(config_of_rank(config, place), restored, Together(meeting, config))
        quieten(place.rank, is_first_here=os.environ.get("LOCAL_RANK", "0") == "0")
        with folder.lock(), logging_to(folder.log):
            return _take_part(part, folder)


def _take_part(part: Part, folder: RunFolder) -> int:
    display: Display = SilentDisplay()
    with prepared_process(threads=part.config.threads), stop_on_signals() as request:
        run = TrainingRun(
            part.config,
            folder,
            display,
            launcher=lambda address: launcher_of(part, folder, address, request),
            restored=part.restored,
            together=part.together,
        )
        if run.is_finished:
            return 0

        async def train() -> Outcome:
            return await run.run(request.event())

        outcome = asyncio.run(train())
    return exit_code_of(outcome, part.config)


def _folder_of(run: Path, place: RankPlace) -> RunFolder:
    """Makes the folder of a rank, in that of the run."""
    path = run / "ranks" / f"{run.name}-rank-{place.rank}"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{place}: cannot make {path}: {error.strerror}; runs_directory must be a place where "
            "every rank may write"
        ) from error
    folder = RunFolder(path)
    folder.make_parts()
    return folder


def _compare(given: RunConfig | None, config: RunConfig, place: RankPlace) -> None:
    found = [] if given is None else differences(given, config)
    if found:
        logger.warning(
            "%s was given other options than rank 0, whose count: %s",
            place,
            "; ".join(map(str, found)),
        )


@contextmanager
def _leaving_none_behind() -> Iterator[None]:
    """After an error, end the process although an update waits for a rank that is lost."""
    try:
        yield
    except EntrainError as error:
        waiting = [it for it in threading.enumerate() if it.name.startswith("learner")]
        for thread in waiting:
            thread.join(_THREADS_S / len(waiting))
        if any(thread.is_alive() for thread in waiting):
            print_error(error)
            logging.shutdown()
            os._exit(error.exit_code)
        raise
