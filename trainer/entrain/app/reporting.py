"""Tells people how a run goes: metrics in its files, the display, warnings in the log."""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from entrain.app.episode_watch import EpisodeWatch
from entrain.app.evaluation_report import EvaluationReport
from entrain.app.initial_weights import initial_steps
from entrain.app.limits import round_words
from entrain.app.observing import BehaviourObserver, NoObserver, RunObserver
from entrain.app.run_clock import RunClock
from entrain.config.run import RunConfig
from entrain.metrics import EPISODE_RETURN_LAST, REWARD_PER_STEP, SECONDS
from entrain.quoting import listed
from entrain.rollout.curricula import Curricula
from entrain.rollout.return_statistics import WINDOW, ReturnStatistics
from entrain.run.display import NO_ROUND, Display, DisplayRow, SimulatorsRow
from entrain.run.episode_table import EpisodeTable
from entrain.run.folder import RunFolder
from entrain.run.json_lines import fields
from entrain.run.log_display import last_episodes
from entrain.run.losses import Losses
from entrain.run.metrics_writer import MetricsWriter
from entrain.run.quantities import duration
from entrain.run.round_shares import RunRounds
from entrain.run.summary import Outcome, PolicySummary, RunSummary, describe_sessions, software
from entrain.run.table import read_metrics
from entrain.serving.participants import Participants
from entrain.stopwatch import Shares
from entrain.trainer import EpisodeSource, Trainer, Update
from entrain_envs.spec import BehaviourSpec

logger = logging.getLogger(__name__)

ENDLESS_STEPS = 1000
"""Steps of an episode after which it is said that none has ended; few tasks have longer ones."""


class Reporting:
    """Writes and shows what a run measures. Owned by the event loop; open while the run is."""

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        display: Display,
        participants: Participants,
        curricula: Curricula,
        *,
        observer: RunObserver | None = None,
    ) -> None:
        """Report nothing yet.

        Args:
            config: of the run.
            folder: holds the files of metrics.
            display: shows how the run goes.
            participants: counts simulators, agents and the time spent on their messages.
            curricula: of environment parameters.
            observer: is told what happens, too.
        """
        self._config = config
        self._folder = folder
        self._display = display
        self._participants = participants
        self._curricula = curricula
        self._observer = observer or NoObserver()
        self._observers: dict[str, BehaviourObserver] = {}
        self._metrics = MetricsWriter(folder)
        self._episodes = EpisodeTable(folder.episodes, max_bytes=int(config.episodes_mib * 2**20))
        self._messages: dict[str, Shares] = {}
        self.losses = Losses()
        """What resumes have lost so far."""
        self._rounds = RunRounds()
        self._round_words = NO_ROUND
        self._rows: dict[str, DisplayRow] = {}
        self._endless: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._metrics.close()
        self._episodes.flush()
        self._observer.close()

    def resume_at(
        self,
        env_steps: Mapping[str, int],
        episodes: Mapping[str, int],
        *,
        since: str,
        earlier: Losses,
        evaluations: int = 0,
    ) -> None:
        """Remove what was measured after a checkpoint, and say what is lost with it.

        Args:
            env_steps: {behaviour: env steps} of the checkpoint.
            episodes: {behaviour: episodes} that it counts.
            since: names the checkpoint.
            earlier: what was lost before.
            evaluations: that the checkpoint counts.
        """
        lost = self._metrics.resume_at(env_steps)
        self._observer.resume_at(env_steps)
        self._episodes.drop_rows_beyond(episodes, evaluations=evaluations)
        self.losses = earlier + lost
        if lost:
            logger.warning("lost since %s: %s; they are done again", since, lost)

    def begin_anew(self) -> None:
        """Remove what a sitting without a checkpoint measured, behind where policies begin."""
        folder = self._folder
        if not (folder.metrics.is_file() or folder.episodes.is_file()):
            return
        known = read_metrics(folder.metrics) if folder.metrics.is_file() else ()
        begin_at = initial_steps(self._config, known)
        since = [f"checkpoint.pt of '{name}', {it:,} env steps" for name, it in begin_at.items()]
        self.resume_at(begin_at, {}, since=listed(since) or "the beginning", earlier=Losses())

    def summary(
        self,
        outcome: Outcome,
        clock: RunClock,
        policies: Mapping[str, PolicySummary],
        *,
        reached: str = "",
    ) -> RunSummary:
        """Returns what the run has come to, with how far each policy came."""
        counters = dict(self._participants.counters)
        return RunSummary(
            name=self._folder.name,
            outcome=outcome,
            started_at=clock.started_at,
            ended_at=time.time(),
            seconds=clock.seconds,
            simulators=(describe_sessions(counters),),
            software=software(),
            policies=policies,
            counters=counters,
            lost=self.losses,
            lessons=self._curricula.lessons,
            reached=reached,
        )

    def watch(self, trainer: Trainer[Any], spec: BehaviourSpec) -> None:
        """Write the episodes of a new trainer, and let curricula and the observer see them."""
        name, episodes = trainer.behaviour, trainer.episodes
        self._messages[name] = Shares(asdict(self._participants.timings))
        self._observers[name] = self._observer.follow(
            spec,
            trainer.learned,
            lambda: trainer.progress.env_steps,
            lambda: self._curricula.completed,
        )
        watch = EpisodeWatch(
            name,
            self._participants,
            self._episodes,
            self._curricula,
            self._observers[name],
            total_steps=trainer.total_steps,
            num_batches=lambda: episodes.num_batches,
        )
        episodes.watch(watch)
        self._curricula.follow(name, watch)

    def write_episodes(self) -> None:
        """Write the episodes that are over: before a checkpoint that counts them, and often."""
        self._episodes.flush()

    def record(self, update: Update, *, seconds: float) -> None:
        """Write the metrics of one update, show them and log its warnings.

        Args:
            update: of one policy.
            seconds: wall-clock time of the run.
        """
        messages = self._messages[update.behaviour].since_last(asdict(self._participants.timings))
        metrics = {**update.metrics, **messages, **self._curricula.metrics, SECONDS.name: seconds}
        progress = update.progress
        statistics = self._participants.statistics.take(update.behaviour)
        self._metrics.write(update.behaviour, progress.env_steps, metrics, statistics)
        self._observers[update.behaviour].note_update(
            metrics, statistics, env_steps=progress.env_steps
        )
        shares = self._rounds.add(update.behaviour, metrics, now_s=seconds)
        self._round_words = round_words(self._config, shares, pace=self._rounds.pace)
        row = DisplayRow.from_metrics(
            metrics,
            progress=progress,
            total_steps=update.total_steps,
            statistics={name: each.value for name, each in statistics.items()},
            lessons=self._curricula.lessons,
            round_words=self._round_words,
        )
        self._display.update(update.behaviour, row)
        self._rows[update.behaviour] = row
        self._warn_of_no_ends(update, row)
        for warning in update.warnings:
            logger.warning("policy '%s', %s", update.behaviour, warning)

    def record_evaluation(self, report: EvaluationReport, *, env_steps: int) -> None:
        """Write and show one policy's part of an evaluation.

        Args:
            report: of it.
            env_steps: of the policy by now.
        """
        name = report.behaviour
        self._metrics.write_evaluation(
            name, env_steps, report.metrics, evaluated_at=report.env_steps
        )
        self._observers[name].note_evaluation(report.metrics, env_steps=env_steps)
        self._episodes.add(report.rows)
        logger.info("%s", report.line, extra=report.facts)

    def leave_out(self, seconds: float) -> None:
        """The run was paused for so long."""
        for shares in self._messages.values():
            shares.leave_out(seconds)

    def warn_of_awaited(self) -> None:
        """Log lessons that cannot end, because no simulator has the behaviour that decides."""
        for parameter, behaviour in self._curricula.awaited().items():
            logger.warning(
                "the lesson of environment parameter '%s' is over by what behaviour '%s' does, and "
                "no simulator has brought that yet",
                parameter,
                behaviour,
            )

    def _warn_of_no_ends(self, update: Update, row: DisplayRow) -> None:
        """Say once that no episode has ended for so long that there may be no ends."""
        name, longest = update.behaviour, update.longest_running
        if row.episodes or name in self._endless or longest < ENDLESS_STEPS:
            return
        self._endless.add(name)
        logger.warning(
            "policy '%s': no episode has ended yet, and one runs for %s steps: there is no return "
            "to show, only the reward per step (%s). That is right for a task without ends; if "
            "episodes should end, the simulator must send TERMINATED or TRUNCATED (in Gymnasium "
            "the wrapper TimeLimit does)",
            name,
            f"{longest:,}",
            REWARD_PER_STEP.text(row.reward_per_step),
        )

    def conclude(
        self,
        outcome: Outcome,
        episodes: Mapping[str, EpisodeSource],
        *,
        env_steps: int,
        seconds: float,
        reached: str = "",
    ) -> None:
        """Say how the run ended, how long it took, how well each policy does, and what limits it.

        Args:
            outcome: of the run.
            episodes: {behaviour: those of its agents}.
            env_steps: over all policies.
            seconds: wall-clock time of the run.
            reached: why it is complete before its total steps; "" if it is not.
        """
        logger.info(
            "%s%s after %s env steps in %s",
            outcome,
            f" ({reached})" if reached else "",
            f"{env_steps:,}",
            duration(seconds),
            extra=fields(outcome=outcome, env_steps=env_steps, seconds=seconds),
        )
        for name, source in episodes.items():
            it = source.statistics
            reward = self._rows[name].reward_per_step if name in self._rows else math.nan
            logger.info(
                "policy '%s': %s",
                name,
                returns_text(it, reward_per_step=reward),
                extra=fields(
                    policy=name,
                    episodes=it.count,
                    **{"return": it.last_mean},
                    return_at_first=it.first_mean,
                    return_best=it.best,
                    reward_per_step=reward,
                ),
            )

        words = self._round_words
        if words is not NO_ROUND:
            logger.info(
                "%s; %s", words.shares_line, words.sentence, extra=fields(limit=words.limit)
            )
        if words.pace:
            logger.info("%s", words.pace)

    def show(self, address: str, env_steps: Mapping[str, int]) -> None:
        """Show who is connected to `address`, and the env steps of each behaviour so far."""
        self.write_episodes()
        row = SimulatorsRow(
            address=address,
            connected=self._participants.num_running,
            expected=self._config.expected_simulators,
            agents=self._participants.num_agents,
            is_paused=self._participants.is_held,
        )
        self._display.serving(row, {**dict.fromkeys(self._config.named_behaviours, 0), **env_steps})


def returns_text(statistics: ReturnStatistics, *, reward_per_step: float) -> str:
    """`return 998.2 over the last 100 episodes (at first 34.1, best episode 1,000.0)`."""
    if not statistics.count:
        if not math.isfinite(reward_per_step):
            return "no episode has ended"
        reward = REWARD_PER_STEP.text(reward_per_step)
        return f"no episode has ended, so there is no return; reward {reward} per step at the end"
    last, first, best = (
        EPISODE_RETURN_LAST.text(value)
        for value in (statistics.last_mean, statistics.first_mean, statistics.best)
    )
    over = last_episodes(statistics.count)
    at_first = f"at first {first}, " if statistics.count > WINDOW else ""
    return f"return {last} over {over} ({at_first}best episode {best})"
