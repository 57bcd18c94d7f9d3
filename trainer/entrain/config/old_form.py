"""Settings as entrain 0.1 wrote them: a policy's `ppo:` group, with the discount in it.

    policies:                        policies:
      walker:                          walker:
        ppo:                             discount: 0.9
          discount: 0.9                  algorithm:
          clip_range: 0.1                  kind: ppo
                                           clip_range: 0.1

The left form is read as the right one, with a warning that shows what to write.
"""

import logging
import shlex
from collections.abc import Sequence
from typing import Final

from entrain.config.source import OptionPath, Origin, Source, describe, show_path
from entrain.config.yaml_text import write_yaml
from entrain.errors import ConfigError

logger = logging.getLogger(__name__)

_OLD, _NEW = "ppo", "algorithm"
_ABOVE: Final = ("rollout_steps", "discount")
"""Options of the old group that now stand beside the new one."""


def renamed(names: Sequence[str]) -> list[str]:
    """The path of an option, which may be that of 0.1, as it is now."""
    match list(names):
        case ["policies", policy, "ppo", option, *rest]:
            group = [] if option in _ABOVE else [_NEW]
            return ["policies", policy, *group, option, *rest]
        case same:
            return same


def make_way(source: Source, names: Sequence[str]) -> None:
    """Remove what an old group that is about to be given as a whole replaces."""
    match list(names):
        case ["policies", policy, "ppo"]:
            for replaced in (_NEW, *_ABOVE):
                source.remove(("policies", policy, replaced))


def modernize(source: Source) -> None:
    """Put every policy's old group into the present form, and warn of it.

    Raises:
        ConfigError: something is there in both forms.
    """
    policies = source.values.get("policies")
    for name, options in policies.items() if isinstance(policies, dict) else ():
        if isinstance(options, dict) and _OLD in options:
            _modernize_policy(source, ("policies", name))


def _modernize_policy(source: Source, policy: OptionPath) -> None:
    old = (*policy, _OLD)
    origin = source.origin(old)
    group = source.value(old)
    moves = {old: (*policy, _NEW)}
    if isinstance(group, dict):
        # Before the group itself, which takes with it what is left inside.
        above = {(*old, name): (*policy, name) for name in _ABOVE if name in group}
        moves = {**above, **moves}
    for before, now in moves.items():
        _refuse_both(source, before, now)
    for before, now in moves.items():
        source.move(before, now)
    _name_the_kind(source, (*policy, _NEW))
    section, name = map(str, policy)
    options = {str(now[-1]): source.value(now) for now in moves.values()}
    lines = write_yaml({section: {name: options}})
    logger.warning(
        "%s: %s is the form of entrain 0.1; write in its place:\n%s",
        origin.place,
        show_path(old),
        lines.rstrip(),
    )


def warn_of_path(origin: Origin, names: Sequence[str], text: str) -> None:
    """Warn if `names`, in an argument of `--set`, are a path of 0.1."""
    if renamed(names) != list(names):
        logger.warning(
            "%s: %s is the form of entrain 0.1; write --set %s",
            origin.place,
            show_path(tuple(names)),
            shlex.quote(f"{show_path(tuple(renamed(names)))}={text}"),
        )


def _refuse_both(source: Source, before: OptionPath, now: OptionPath) -> None:
    if source.has(now):
        raise ConfigError(
            f"{source.origin(before).place}: {show_path(before)} is the old form of "
            f"{show_path(now)}, which is there as well "
            f"({describe(source.value(now), source.origin(now).written)}, "
            f"{source.origin(now).place}); keep what you mean in {show_path(now)} and delete "
            f"{show_path(before)}"
        )


def _name_the_kind(source: Source, algorithm: OptionPath) -> None:
    """The old group meant PPO, whatever the default is."""
    group = source.value(algorithm)
    if group is None or isinstance(group, dict):
        source.replace(algorithm, {"kind": "ppo", **(group or {})})
