"""Tunings whose runs are made up: a function of the settings says what each of them measures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.evaluation_metrics import EVALUATION_ENV_STEPS, EVALUATION_RETURN_MEAN
from entrain.metrics import EPISODE_RETURN_LAST
from entrain.run.folder import RunFolder
from entrain.run.summary import Outcome
from entrain.run.table import MetricsTable
from entrain.supervise.processes import Living
from entrain.tune.service import TuneOptions, Tuning, make_tuner
from entrain.tune.study import Study, Tried
from support.served_runs import MadeUp, save_summary

SETTINGS = """\
name: hop
runs_directory: {runs}
seed: 7
simulators:
  launch:
    - command: a-simulator
policies:
  hopper:
    total_steps: 1000
    algorithm:
      minibatch_size: 32
search:
  trials: 4
  parallel: 1
  startup_trials: 2
  options:
    policies.hopper.algorithm.learning_rate: {{low: 1e-4, high: 1e-2, log: true}}
    policies.hopper.algorithm.num_epochs: {{low: 2, high: 20, step: 2}}
    policies.hopper.network.hidden_sizes: {{choices: [[64], [64, 64]]}}
"""
STEPS = range(100, 1001, 100)

Curve = Callable[[RunConfig], Sequence[float]]
"""What a run measures at each of STEPS."""


def learning_rate(config: RunConfig) -> float:
    return config.policies["hopper"].algorithm.learning_rate


def rising(config: RunConfig) -> Sequence[float]:
    """Better with a larger learning rate, and later."""
    return [1000.0 * learning_rate(config) * steps / 1000 for steps in STEPS]


def _rows(value: float, env_steps: int, config: RunConfig) -> Sequence[Mapping[str, float]]:
    """An update, and where the run is evaluated an evaluation after it, which is what counts."""
    if config.evaluation is None:
        return [{EPISODE_RETURN_LAST.name: value}]
    evaluation = {EVALUATION_RETURN_MEAN.name: value, EVALUATION_ENV_STEPS.name: float(env_steps)}
    return [{EPISODE_RETURN_LAST.name: -value}, evaluation]


class TuningWorld:
    """A settings file, and processes that end when a test says so, or at once."""

    def __init__(self, folder: Path, text: str = SETTINGS, *, curve: Curve = rising) -> None:
        self.file = folder / "hop.yaml"
        self.runs = folder / "runs"
        self.write(text)
        self.curve = curve
        self.ends_at_once = True
        self.code, self.outcome = 0, "completed"
        self.processes: dict[str, MadeUp] = {}
        self.started: list[str] = []
        self.environments: list[dict[str, str]] = []
        self.now_s = 0.0

    def write(self, text: str) -> None:
        self.file.write_text(text.format(runs=self.runs))

    def options(self, *overrides: str) -> TuneOptions:
        return TuneOptions(
            file=self.file, overrides=overrides, start=self._start, every_s=0.001, processors=4
        )

    def begin(self, *overrides: str) -> "RunningTuning":
        """As a process does that tunes, but for its lock and its signals."""
        return RunningTuning(self, Tuning.read(self.options(*overrides)))

    def _start(
        self, command: Sequence[str], *, output: Path, mark: str, environment: dict[str, str]
    ) -> Living:
        name = command[command.index("--name") + 1]
        process = MadeUp(command)
        self.processes[name] = process
        self.started.append(name)
        self.environments.append(environment)
        if self.ends_at_once:
            self.measure(name)
            self.end(name)
        return process

    def config_of(self, name: str) -> RunConfig:
        command = self.processes[name].command
        return load_config(Path(command[command.index("train") + 1]), [])

    def folder_of(self, name: str) -> RunFolder:
        command = self.processes[name].command
        folder = RunFolder(Path(command[command.index("--runs-directory") + 1]) / name)
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder

    def measure(self, name: str, up_to: int = 1000) -> None:
        """Its table has the rows up to that env step."""
        path = self.folder_of(name).metrics
        path.unlink(missing_ok=True)
        table = MetricsTable(path)
        config = self.config_of(name)
        for env_steps, value in zip(STEPS, self.curve(config), strict=True):
            if env_steps <= up_to:
                for metrics in _rows(value, env_steps, config):
                    table.append("hopper", env_steps=env_steps, wall_time=1.0, metrics=metrics)
        table.flush()

    def end(self, name: str, code: int | None = None, outcome: Outcome | None = None) -> None:
        """Its process ends, as all do unless told otherwise."""
        save_summary(self.folder_of(name).summary, outcome or self.outcome)  # type: ignore[arg-type]
        self.processes[name].ended_with = self.code if code is None else code


class RunningTuning:
    """A tuner with its parts, stepped by a test."""

    def __init__(self, world: TuningWorld, tuning: Tuning) -> None:
        tuning.folder.make()
        self.tuning = tuning
        self.study: Study = tuning.study()
        options = replace(world.options(), every_s=0.0)
        self.tuner = make_tuner(tuning, self.study, options, clock=lambda: world.now_s)
        self.tuner.find_again()

    async def steps(self, count: int) -> None:
        for _ in range(count):
            await self.tuner.step()

    async def to_its_end(self) -> None:
        for _ in range(200):
            if self.tuner.is_done:
                return
            await self.tuner.step()
        raise AssertionError(f"it does not end: {self.study.trials()}")

    def tried(self) -> Sequence[Tried]:
        return self.study.trials()


def values_of(tried: Sequence[Tried]) -> list[Any]:
    """What was tried, in order."""
    return [dict(it.chosen) for it in tried]
