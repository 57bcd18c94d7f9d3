"""Checks what is to be varied before anything starts, in the words of settings themselves.

Each range's ends, and each choice, are put into the settings and validated there, as if the file
had them at the place where the range is written.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from entrain.config.load import validated
from entrain.config.overrides import names_of
from entrain.config.run import RunConfig
from entrain.config.schema import expectation, find
from entrain.config.search import RangeConfig, SearchConfig
from entrain.config.source import OptionPath, Origin, Source, show_path
from entrain.errors import ConfigError
from entrain.tune.space import KIND, Choices, Numbers, Searched, Space, foreign_kind, put

_OF_THE_TUNING = {
    "name": "each trial has a name of its own",
    "runs_directory": "all trials are in one folder",
    "seed": "search.seeds says with how many seeds each trial runs",
    "server": "each run listens where a port is free",
    "http": "the pages of runs have ports that are free",
    "search": "a tuning cannot vary itself",
}


def checked_space(settings: Source, config: RunConfig) -> Space:
    """Returns what is varied in these settings; ConfigError if an option or a range is wrong.

    Args:
        settings: of the file.
        config: the same, validated.
    """
    search = search_of(config, settings.whole)
    _require_simulators(config, settings)
    base = copy.deepcopy(settings)
    base.remove(("search",))
    searched = [
        _searched(name, one, settings, ("search", "options", name))
        for name, one in search.options.items()
    ]
    _require_once(searched)
    for option in searched:
        for value, origin in _probes(option, settings):
            probe = copy.deepcopy(base)
            _choose_kind_of(option, probe, searched)
            put(probe, option, value, origin)
            _require_policy(option, config, validated(probe), origin)
    return Space(base, searched)


def search_of(config: RunConfig, whole: Origin) -> SearchConfig:
    """Returns the section `search`; ConfigError if there is none."""
    if config.search is None:
        raise ConfigError(
            f"{whole.place}: a run has no section 'search'; say there which options are varied, as "
            "in docs/examples/tune_cartpole.yaml"
        )
    return config.search


def _require_simulators(config: RunConfig, settings: Source) -> None:
    launches_games = config.unity is not None and config.unity.launch is not None
    if not config.simulators.launch and not launches_games:
        raise ConfigError(
            f"{settings.origin(('simulators',)).place}: simulators.launch is empty; the runs of a "
            "tuning come and go by themselves, so say there which simulators they start"
        )


def _searched(name: str, one: RangeConfig, settings: Source, where: OptionPath) -> Searched:
    origin = settings.origin(where)
    names = names_of(name, origin)
    if names[0] in _OF_THE_TUNING:
        why = _OF_THE_TUNING[names[0]]
        raise ConfigError(f"{origin.place}: {show_path(tuple(names))} cannot be varied: {why}")
    path = _with_positions(names)
    if one.choices is not None:
        return Choices(name=name, path=path, origin=origin, values=one.choices)
    assert one.low is not None
    assert one.high is not None
    is_whole = _is_whole(path, origin)
    if is_whole and one.step is not None and not one.step.is_integer():
        place = settings.origin((*where, "step")).place
        raise ConfigError(
            f"{place}: {show_path((*where, 'step'))} is {one.step:g}; {show_path(path)} is an "
            "integer, and so must be its step"
        )
    return Numbers(
        name=name,
        path=path,
        origin=origin,
        low=one.low,
        high=one.high,
        is_log=one.log,
        step=one.step,
        is_whole=is_whole,
    )


def _with_positions(names: list[str]) -> OptionPath:
    """The path with the positions in lists as numbers."""
    path: OptionPath = ()
    for name in names:
        is_list = "items" in find(path)[1] if path else False
        path = (*path, int(name) if is_list and name.isdecimal() else name)
    return path


def _is_whole(path: OptionPath, origin: Origin) -> bool:
    """Whether numbers at `path` are integers; ConfigError if it is known and takes no numbers."""
    found, schema = find(path)
    if found != path:
        return False  # the first probe says so in better words
    types = {it.get("type") for it in (schema, *schema.get("anyOf", ()))}
    if not types & {"integer", "number"}:
        raise ConfigError(
            f"{origin.place}: {show_path(path)} must be {expectation(schema)}; give choices in "
            "place of low and high"
        )
    return "number" not in types


def _require_once(searched: list[Searched]) -> None:
    seen: dict[OptionPath, Searched] = {}
    for option in searched:
        if option.path in seen:
            raise ConfigError(
                f"{option.origin.place}: {show_path(option.path)} is varied twice; the first is "
                f"'{seen[option.path].name}', delete one of them"
            )
        seen[option.path] = option


def _probes(option: Searched, settings: Source) -> Iterator[tuple[Any, Origin]]:
    where: OptionPath = ("search", "options", option.name)
    if isinstance(option, Choices):
        for number, value in enumerate(option.values):
            yield value, settings.origin((*where, "choices", number))
        return
    for end in ("low", "high"):
        value = settings.value((*where, end))
        yield value, settings.origin((*where, end))


def _choose_kind_of(option: Searched, probe: Source, searched: list[Searched]) -> None:
    """Let groups around `option` have a kind that has it, if such a kind is among the choices."""
    group = foreign_kind(probe, option.path)
    if group is None:
        return
    for other in searched:
        if not isinstance(other, Choices) or other.path not in {group, (*group, KIND)}:
            continue
        for value in other.values:
            trial = copy.deepcopy(probe)
            put(trial, other, value, other.origin)
            if foreign_kind(trial, option.path) is None:
                put(probe, other, value, other.origin)
                return


def _require_policy(option: Searched, config: RunConfig, probed: RunConfig, origin: Origin) -> None:
    """ConfigError if the option is one of a policy that the file does not have."""
    new: Mapping[str, object] = {
        name: it for name, it in probed.policies.items() if name not in config.policies
    }
    for name in new:
        raise ConfigError(
            f"{origin.place}: {show_path(option.path)} is of a policy that the file does not name "
            f"(it has: {', '.join(config.policies)}); '{name}' would be another one"
        )
