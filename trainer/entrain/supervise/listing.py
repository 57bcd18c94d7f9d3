"""`entrain list`: the runs in a folder, or those of a directory of settings files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from entrain.app import info
from entrain.app.run_status import RunStatus, runs_in
from entrain.errors import ConfigError
from entrain.supervise.places import Places
from entrain.supervise.records import Record, RecordFile

LIVE = ("running", "ending")

PASSING = ("", "running", "starting", "stopping", "waiting", "failed", "elsewhere")
"""States that hold only as long as a supervisor is there."""


def lines(directory: Path) -> Iterator[str]:
    """Yields a table of the runs, newest first, with where simulators dial; then what is wrong."""
    places = _places(directory)
    if places is None:
        yield from info.list_runs(directory)
        return
    runs, records = runs_in(places.runs_directory), _records(places)
    found = [run for run in runs if isinstance(run, RunStatus)]
    heads = (*info.HEADS, "restarts", "simulators dial")
    is_served = places.is_served
    rows = [_row(run, records.get(run.name), is_served=is_served) for run in found]
    names = {run.name for run in found}
    rows += [
        (name, record.state, "-", "-", "-", "-", str(record.restarts), record.dial or "-")
        for name, record in records.items()
        if name not in names and record.state != "deleted"
    ]
    yield from info.table([heads, *rows]) if rows else [f"no run in {places.runs_directory}"]
    yield from (f"{name}: {it.says}" for name, it in records.items() if it.says)
    yield from (str(run) for run in runs if isinstance(run, ConfigError))
    if not is_served:
        yield f"nobody serves {places.directory} now: entrain serve {places.directory}"


def for_programs(directory: Path) -> Sequence[Mapping[str, object]]:
    """Returns the same as JSON has it."""
    places = _places(directory)
    if places is None:
        return info.runs_for_programs(directory)
    records = dict(_records(places))
    answers: list[Mapping[str, object]] = []
    for run in runs_in(places.runs_directory):
        if isinstance(run, ConfigError):
            answers.append({"error": str(run)})
            continue
        record = records.pop(run.name, None)
        answers.append({**info.status_for_programs(run), **_supervised(record)})
    for name, record in records.items():
        answers.append({"name": name, "state": record.state, **_supervised(record)})
    return answers


def _places(directory: Path) -> Places | None:
    """Those of a directory that is or was served; None for another folder."""
    for places in (Places(directory), Places(directory, directory)):
        if places.was_served:
            return places
    return None


def _records(places: Places) -> Mapping[str, Record]:
    return RecordFile(places.state).load(sets_aside=False)


def _state(run: RunStatus, record: Record | None, *, is_served: bool) -> str:
    """The run's state: by its folder if it lives, else by the supervisor's record."""
    if run.state in LIVE or record is None or record.state in {"running", ""}:
        return run.state
    return run.state if record.state in PASSING and not is_served else record.state


def _row(run: RunStatus, record: Record | None, *, is_served: bool) -> tuple[str, ...]:
    name, _, *cells = info.row(run)
    restarts = "0" if record is None else str(record.restarts)
    dial = record.dial if record is not None and run.state in LIVE else ""
    return (name, _state(run, record, is_served=is_served), *cells, restarts, dial or "-")


def _supervised(record: Record | None) -> Mapping[str, object]:
    if record is None:
        return {"supervisor": None}
    return {
        "supervisor": {
            "state": record.state,
            "words": record.says or None,
            "restarts": record.restarts,
            "dial": record.dial or None,
        }
    }
