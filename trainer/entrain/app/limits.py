"""Says what limits how fast a run learns, and which of the run's options change that.

Nothing here needs torch, so that `entrain profile` answers at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from entrain.config.algorithm import PPOConfig
from entrain.config.policy import PolicyConfig
from entrain.config.run import RunConfig
from entrain.config.source import show_path
from entrain.run.display import RoundWords
from entrain.run.round_shares import Limit, RoundShares

MOST_NAMED = 3
"""Entries of `simulators.launch` whose counts are named."""

WORTH_IT = 0.1
"""Share of the time that updates must take before it is worth letting them run beside."""


@dataclass(frozen=True)
class Finding:
    """The limit of a run's speed, with its evidence and remedies."""

    limit: Limit

    words: str
    """The limit in a few words."""

    facts: str
    """The shares of the time that show it."""

    ways: Sequence[str]
    """Changes to try, the most promising first; each begins with a verb."""

    @property
    def sentence(self) -> str:
        """Words and facts, without a full stop."""
        return f"{self.words}: {self.facts}"


@dataclass(frozen=True)
class _Learning:
    """A policy's options, and where the time of its rounds goes."""

    path: tuple[str, ...]
    """The path of its options."""

    options: PolicyConfig
    shares: RoundShares

    def named(self, *names: str) -> str:
        return show_path((*self.path, *names))


def find_limit(config: RunConfig, policies: Mapping[str, RoundShares]) -> Finding:
    """Returns what limits a run.

    Args:
        config: of the run.
        policies: {behaviour: where the time of its rounds goes}; at least one.
    """
    run = RoundShares.of_all(list(policies.values()))
    limit = run.limit
    ways = {
        "simulators": _more_simulators(config),
        "updates": _shorter_updates(config, policies),
        "acting": _less_acting(config, policies, run),
        "other": _less_beside(config, policies),
        "none": _more_of_what_there_is(config, policies, run),
    }[limit]
    return Finding(limit, _WORDS[limit], _facts(run), tuple(ways))


def round_words(
    config: RunConfig, policies: Mapping[str, RoundShares], *, pace: str = ""
) -> RoundWords:
    """Returns the limit in few words, for a display; `pace` is that of its rounds."""
    finding = find_limit(config, policies)
    percents = RoundShares.of_all(list(policies.values())).percents
    shares = (f"{_SHORT.get(name, name)} {share}%" for name, share in percents.items())
    return RoundWords(", ".join(shares), finding.words, next(iter(finding.ways), ""), pace)


_SHORT = {"waiting": "simulators"}

_WORDS: Mapping[Limit, str] = {
    "simulators": "simulators are the limit",
    "updates": "updates are the limit",
    "acting": "acting is the limit",
    "other": "neither simulators nor updates are the limit",
    "none": "nothing is the limit alone",
}


def _facts(run: RoundShares) -> str:
    waiting, updates, serving, other = map(
        percent, (run.waiting, run.updates, run.serving, run.other)
    )
    return {
        "simulators": f"the trainer waits for them {waiting} of the time",
        "updates": f"simulators wait for them {updates} of the time",
        "acting": f"serving batches takes the trainer {serving} of the time",
        "other": f"checkpoints, files and the time before the first batch take {other}",
        "none": f"simulators take {waiting} of the time, updates {updates}, acting {serving}",
    }[run.limit]


def percent(share: float) -> str:
    """Returns `71%`."""
    return f"{100 * share:.0f}%"


def _more_simulators(config: RunConfig) -> Iterator[str]:
    launched = config.simulators.launch
    free = "while processors are free"
    for number, launch in enumerate(launched[:MOST_NAMED]):
        path = show_path(("simulators", "launch", number, "count"))
        yield f"raise {path} (now {launch.count}), {free}"
    if config.unity is not None:
        # Those who come from ML-Agents know these options as flags.
        flag = ", --num-envs of entrain learn" if config.unity.launch else " and start as many"
        yield f"raise unity.games (now {config.unity.games}){flag}, {free}"
        scale = config.unity.engine.time_scale
        yield f"raise unity.engine.time_scale (now {scale:g}), --time-scale of entrain learn"
    elif not launched:
        yield f"start more simulators, {free}"
    if config.is_native:
        yield "put more agents into each, which share one message: entrain-env has --count"
    if config.server.lockstep and config.expected_simulators > 1:
        yield "set server.lockstep to false: every batch waits for the slowest simulator"


def _shorter_updates(config: RunConfig, policies: Mapping[str, RoundShares]) -> Iterator[str]:
    """Ways to shorten the updates of the policy whose updates take most."""
    for it in _greatest(config, policies, "updates"):
        yield from _beside(it)
        algorithm = it.options.algorithm
        if isinstance(algorithm, PPOConfig):
            yield from _cheaper_epochs(it, algorithm)
        else:
            path = it.named("algorithm", "updates_per_step")
            yield f"lower {path} (now {algorithm.updates_per_step:g})"
            yield f"lower {it.named('algorithm', 'batch_size')} (now {algorithm.batch_size})"
        network = it.options.network
        if network.memory.kind != "none" and not network.shared:
            yield f"set {it.named('network', 'shared')} to true, so that one memory serves both"
    if config.device == "cpu":
        yield "set device to cuda, or raise update_threads, if networks are large or see images"


def _cheaper_epochs(it: _Learning, algorithm: PPOConfig) -> Iterator[str]:
    if algorithm.minibatch_size < it.options.rollout_steps:
        path = it.named("algorithm", "minibatch_size")
        yield f"raise {path} (now {algorithm.minibatch_size})"
    if algorithm.num_epochs > 1:
        yield f"lower {it.named('algorithm', 'num_epochs')} (now {algorithm.num_epochs})"
    if algorithm.update == "torch":
        yield f"set {it.named('algorithm', 'update')} to auto"


def _beside(it: _Learning) -> Iterator[str]:
    """Collecting during updates, if simulators now wait long enough for updates."""
    waited = it.shares.updates
    if it.options.policy_lag == 0 and waited >= WORTH_IT:
        # A round takes as long as the longer of the two then.
        faster = 1 / max(waited, 1 - waited)
        yield (
            f"set {it.named('policy_lag')} to 1: the next rollout is collected during the update "
            f"(at most {faster:.1f} x as fast)"
        )


def _less_acting(
    config: RunConfig, policies: Mapping[str, RoundShares], run: RoundShares
) -> Iterator[str]:
    yield "put more agents into each simulator: a batch of many costs little more than one of few"
    if run.messages > run.acting:
        yield "send smaller observations: images as uint8, and no larger than the policy needs"
    else:
        for it in _greatest(config, policies, "acting"):
            sizes = list(it.options.network.hidden_sizes)
            yield f"choose a smaller network: {it.named('network', 'hidden_sizes')} (now {sizes})"
    if config.device == "cpu" and run.acting >= run.messages:
        yield "set device to cuda if networks are large or see images"


def _less_beside(config: RunConfig, policies: Mapping[str, RoundShares]) -> Iterator[str]:
    yield "look again after some more updates: the time before the first batch counts once"
    yield f"raise checkpoints.every_steps (now {config.checkpoints.every_steps:,})"
    for it in _greatest(config, policies, "other"):
        yield f"raise {it.named('rollout_steps')} (now {it.options.rollout_steps:,})"


def _more_of_what_there_is(
    config: RunConfig, policies: Mapping[str, RoundShares], run: RoundShares
) -> Iterator[str]:
    """First ways to collect during updates, then ways to shorten what takes most."""
    beside = [way for it in _greatest(config, policies, "updates") for way in _beside(it)]
    yield from beside
    shares = {"simulators": run.waiting, "updates": run.updates, "acting": run.serving}
    if max(shares, key=shares.__getitem__) == "simulators":
        others = _more_simulators(config)
    elif run.updates >= run.serving:
        others = _shorter_updates(config, policies)
    else:
        others = _less_acting(config, policies, run)
    yield from (way for way in others if way not in beside)


def _greatest(
    config: RunConfig, policies: Mapping[str, RoundShares], part: str
) -> Sequence[_Learning]:
    """The policy whose rounds spend the largest share on `part`; none if none has options."""
    learning = [
        _Learning(("policies", behaviour if behaviour in config.policies else "*"), options, it)
        for behaviour, it in policies.items()
        if (options := config.policy_for(behaviour)) is not None
    ]
    return sorted(learning, key=lambda it: -getattr(it.shares, part))[:1]
