"""`entrain ctl`: asks a run that goes on how it stands, or to do something, by its page."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from entrain.app.page_client import PageClient
from entrain.errors import ConfigError, ControlError, ExportError
from entrain.metrics import find_metric
from entrain.run.quantities import duration

Command: TypeAlias = Literal[
    "status", "metrics", "checkpoint", "stop", "pause", "go-on", "export", "set"
]

LOOK_S = 0.5
"""Time between two looks at a run that is waited for."""

_ASKS: Mapping[Command, str] = {
    "checkpoint": "/api/checkpoint",
    "stop": "/api/stop",
    "pause": "/api/pause",
    "go-on": "/api/go-on",
    "export": "/api/export",
    "set": "/api/change",
}


def control(
    page: PageClient,
    command: Command,
    settings: Sequence[str],
    *,
    from_update: int | None = None,
    form: str = "onnx",
    policy: str | None = None,
) -> Mapping[str, Any]:
    """Returns what the run answers to a command, as JSON has it.

    Args:
        page: of the run.
        command: what is asked.
        settings: each PATH=VALUE, of `set`.
        from_update: of `set`.
        form: of `export`.
        policy: of `metrics`; None for all.

    Raises:
        ConfigError: the run refuses it, or the command takes no such words.
        ControlError: it does not answer.
    """
    if bool(settings) != (command == "set"):
        raise ConfigError(
            "set takes at least one PATH=VALUE, such as policies.walker.algorithm."
            "learning_rate=1e-4; the other commands take none"
        )
    if command == "status":
        return dict(page.read("/api/status"))
    if command == "metrics":
        names = [it["name"] for it in page.read("/api/status")["policies"]]
        wanted = names if policy is None else [policy]
        return {name: _newest(page, name) for name in wanted}
    fields: Mapping[str, object] = {}
    if command == "set":
        fields = {"set": list(settings), "from_update": from_update}
    elif command == "export":
        fields = {"format": form}
    return dict(page.ask(_ASKS[command], **fields))


def _newest(page: PageClient, policy: str) -> Mapping[str, float | None]:
    try:
        curves = page.read("/api/metrics", policy=policy, points="1")
    except ControlError as error:
        if "has been updated yet" in str(error):
            return {}
        raise
    return {name: curve["newest"] for name, curve in curves["metrics"].items()}


def wait_for(
    page: PageClient,
    command: Command,
    *,
    is_running: Callable[[], bool] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Wait until what was asked is done; returns that in words, "" where there is no waiting.

    Args:
        page: of the run.
        command: that was asked.
        is_running: whether the run goes on; None, of another machine: whether its page answers.
        sleep: waits for seconds.

    Raises:
        ControlError: the run has ended before.
        ExportError: the export has failed.
    """
    if command == "stop":
        while is_running() if is_running is not None else _answers(page):
            sleep(LOOK_S)
        return "the run has stopped"
    if command not in {"pause", "export"}:
        return ""
    while True:
        status = page.read("/api/status")
        asked = status["control"]
        if command == "pause" and status["phase"] == "paused":
            return f"paused at {status['env_steps']:,} env steps"
        if command == "pause" and not asked["paused_since"]:
            raise ControlError("somebody let the run go on meanwhile, or it is ending")
        if command == "export" and asked["export"] == "done":
            return str(asked["exported"])
        if command == "export" and asked["export"] == "failed":
            raise ExportError(f"the export failed: {asked['exported']}")
        sleep(LOOK_S)


def _answers(page: PageClient) -> bool:
    try:
        page.read("/api/status")
    except ControlError:
        return False
    return True


def words_of(command: Command, answer: Mapping[str, Any]) -> Iterator[str]:
    """Yields an answer as lines for people."""
    if command == "status":
        yield from _status(answer)
    elif command == "metrics":
        for policy, values in answer.items():
            yield policy if values else f"{policy}: no update yet"
            yield from _metrics(values)
    else:
        yield str(answer["asked"])


def _metrics(values: Mapping[str, float | None]) -> Iterator[str]:
    width = max(map(len, values), default=0)
    for name, value in values.items():
        metric = find_metric(name)
        number = math.nan if value is None else float(value)
        text = f"{number:.6g}" if metric is None else metric.text(number)
        unit = f" {metric.unit}" if metric is not None and metric.unit else ""
        yield f"  {name:{width}}  {text}{unit}"


def _status(status: Mapping[str, Any]) -> Iterator[str]:
    left = status["seconds_left"]
    yield f"{status['run']}: {status['phase']}, {status['env_steps']:,} env steps in " + (
        duration(status["seconds"]) + (f", {duration(left)} left" if left else "")
    )
    for each in status["policies"]:
        last = each["return_last_100"]
        shown = "no episode has ended" if last is None else f"return {last:.6g}"
        yield (
            f"  {each['name']}: {each['env_steps']:,} of {each['total_steps']:,} env steps, "
            f"{each['updates']:,} updates, {shown}"
        )
    yield (
        f"  {status['num_simulators']} of {status['expected_simulators']} simulators with "
        f"{status['num_agents']:,} agents on {status['address'] or 'no address yet'}"
    )
    yield from (f"  to be changed: {each}" for each in status["control"]["changes"])
    yield from (f"  {each['level']} {each['message']}" for each in status["alarms"][:5])
