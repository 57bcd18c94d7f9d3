"""Trains every setting of zoo/ through gRPC, plays on without noise, and writes one table.

Each run's result is kept in zoo/results.json as soon as there is one, and not measured again unless
its file's options change. A run that was interrupted goes on where it was.

    python -m benchmarks.zoo --only cartpole,lunar_lander --seeds 3
    python -m benchmarks.zoo --render
"""

import argparse
import datetime
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from benchmarks import zoo_results
from benchmarks.machine import described
from benchmarks.runs import evaluated, train
from benchmarks.zoo_picture import draw
from benchmarks.zoo_results import Result
from benchmarks.zoo_settings import ZOO, Setting, all_settings, chosen

FOLDER = Path(".build/zoo")


@dataclass(frozen=True)
class Job:
    """One run."""

    setting: Setting
    seed: int


@dataclass(frozen=True)
class Failure:
    """A run without a result; the others go on."""

    job: Job
    why: str

    def __str__(self) -> str:
        return f"{self.job.setting.name} seed {self.job.seed} FAILED: {self.why}"


def main(arguments: Sequence[str] | None = None, zoo: Path = ZOO) -> int:
    """Command line; returns how many runs failed.

    Args:
        arguments: words after the command's name; None takes those of this process.
        zoo: where settings, results and their page are.
    """
    options = _parser().parse_args(arguments)
    settings = all_settings(zoo)
    file = zoo / "results.json"
    failures = 0
    if not options.render:
        wanted = chosen(settings, options.only.split(",") if options.only else [])
        results = zoo_results.current(zoo_results.load(file), settings)
        jobs = [job for job in _jobs(wanted, options.seeds) if not _is_done(job, results)]
        for outcome in measured(jobs, options.folder, options.episodes, at_once=options.jobs):
            print(outcome, flush=True)
            if isinstance(outcome, Result):
                zoo_results.add(outcome, file)
            else:
                failures += 1
    render(zoo)
    return failures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAMES", help="settings, separated by commas")
    parser.add_argument("--seeds", type=int, default=3, help="run seeds 1 to this")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--episodes", type=int, default=20, help="to play after training, at least")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where run folders are")
    parser.add_argument("--render", action="store_true", help="only write table and picture")
    return parser


def _jobs(settings: Sequence[Setting], seeds: int) -> Iterator[Job]:
    """Every setting's first seed before any second one, short settings first."""
    for seed in range(1, seeds + 1):
        for setting in sorted(settings, key=lambda setting: setting.total_steps):
            yield Job(setting, seed)


def _is_done(job: Job, results: Sequence[Result]) -> bool:
    return (job.setting.name, job.seed) in {(each.setting, each.seed) for each in results}


def measured(
    jobs: Sequence[Job], folder: Path, episodes: int, *, at_once: int
) -> Iterator[Result | Failure]:
    """Yields the outcome of each job as soon as there is one."""

    def outcome(job: Job) -> Result | Failure:
        try:
            return measure(job, folder, episodes)
        except (RuntimeError, ValueError, subprocess.CalledProcessError) as error:
            return Failure(job, str(error))

    pool = ThreadPoolExecutor(at_once)
    try:
        for future in as_completed([pool.submit(outcome, job) for job in jobs]):
            yield future.result()
    finally:
        # After Ctrl+C the runs that go on are saved, and no other one begins.
        pool.shutdown(cancel_futures=True)


def measure(job: Job, folder: Path, episodes: int) -> Result:
    """Train, or go on with the run that there is, and play."""
    # Hours may have passed since the command began, and the file may be another one.
    setting = Setting.load(job.setting.config)
    name = f"{setting.name}-{job.seed}-{setting.digest}"
    run = train(setting.config, folder / name, "server.address=localhost:0", f"seed={job.seed}")
    played = evaluated(run, episodes=episodes)
    return Result(
        setting=setting.name,
        seed=job.seed,
        digest=setting.digest,
        return_mean=round(played["return_mean"], 4),
        return_std=round(played["return_std"], 4),
        episodes=played["episodes"],
        env_steps=run.env_steps,
        processor_s=round(run.processor_s, 1),
        date=datetime.date.today().isoformat(),
        machine=described(),
        curve=zoo_results.curve(run),
    )


def render(zoo: Path) -> None:
    """Print the table, write it into the zoo's page, and draw the curves beside it."""
    settings = all_settings(zoo)
    results = zoo_results.current(zoo_results.load(zoo / "results.json"), settings)
    rendered = zoo_results.table(settings, results)
    page = zoo / "README.md"
    text = zoo_results.with_table(page.read_text(encoding="utf-8"), rendered)
    page.write_text(text, encoding="utf-8")
    draw(settings, results, zoo / "curves.png")
    print(rendered)


if __name__ == "__main__":
    sys.exit(main())
