"""`--set PATH=VALUE` changes one value of settings that were read before.

PATH is names with dots between them: policies.walker.algorithm.clip_range. A name that contains a
dot or a space is quoted: policies."my.walker".total_steps. A number is a position in a list:
simulators.launch.0.count. VALUE is YAML: 3e-4, [64, 64], true, null, text. The name of a variable
may stand in the place of PATH, see `variables`.
"""

import json
import re
from typing import Any, Final

from entrain.config import old_form
from entrain.config.keywords import Keyword
from entrain.config.schema import Schema, find
from entrain.config.source import OptionPath, Origin, Source, describe, one_line, quoted, show_path
from entrain.config.variables import is_variable, path_of
from entrain.config.yaml_text import not_text, read_value
from entrain.errors import ConfigError

_SEGMENT: Final = re.compile(r"(?P<double>\"(?:[^\"\\]|\\.)*\")|'(?P<single>[^']*)'|[^\s.'\"=]+")


def set_option(source: Source, argument: str, *, position: int) -> None:
    """Change `source` as an argument of `--set`, or a variable, says; ConfigError if it cannot.

    Args:
        source: changed in place; missing groups on the path are added.
        argument: such as "policies.walker.algorithm.clip_range=0.1", or
            "ENTRAIN__POLICIES__WALKER__ALGORITHM__CLIP_RANGE=0.1".
        position: of this argument among all of them, from 0.
    """
    variable, _, of_variable = argument.partition("=")
    of_set = not is_variable(argument)
    origin = Origin(_place(argument, variable, of_set=of_set), (1, position), "")
    if problem := not_text(argument):
        raise ConfigError(f"{origin.place}: {problem}")
    if of_set:
        written, text = _split(argument, origin)
    else:
        written, text = path_of(variable, source.values), of_variable
    _put(source, written, text, origin)


def _place(argument: str, variable: str, *, of_set: bool) -> str:
    """Names an override in a message."""
    if isinstance(argument, Keyword):
        return f"the keyword {quoted(argument.name)}"
    return f"--set {quoted(argument)}" if of_set else quoted(variable)


def put_option(source: Source, path: str, text: str, origin: Origin) -> OptionPath:
    """Change the option at `path` as `set_option` does, and return where it is.

    Args:
        source: changed in place.
        path: such as policies.walker.algorithm.clip_range.
        text: the value as YAML.
        origin: that messages name.
    """
    names = names_of(path, origin)
    return _put(source, names, text, origin)


def names_of(path: str, origin: Origin) -> list[str]:
    """The names in the path of an option; ConfigError if it is none."""
    try:
        names, rest = _split(f"{path}=", origin)
    except ConfigError:
        rest = "?"
    if rest:
        raise ConfigError(
            f"{origin.place}: '{quoted(path)}' is no path of an option; write names with dots "
            "between them, such as policies.walker.algorithm.clip_range, and quote a name that "
            "holds a dot, a space or '='"
        )
    return names


def _put(source: Source, written: list[str], text: str, origin: Origin) -> OptionPath:
    old_form.warn_of_path(origin, written, text)
    old_form.make_way(source, written)
    names = old_form.renamed(written)
    group, path = _enter(source.values, names, origin)

    def locate(_line: int, written: str) -> Origin:
        return Origin(origin.place, origin.order, written)

    value, origins = read_value(text, path, locate)
    group[path[-1]] = value
    source.forget_origins(path)
    source.origins.update(origins)
    for depth in range(1, len(path)):
        source.origins.setdefault(path[:depth], origin)
    old_form.modernize(source)
    return path


def _split(argument: str, origin: Origin) -> tuple[list[str], str]:
    """'a."b.c".0=text' into (["a", "b.c", "0"], "text")."""
    names: list[str] = []
    end = -1
    while found := _SEGMENT.match(argument, end + 1):
        names.append(_name(found, origin))
        end = found.end()
        if not argument.startswith(".", end):
            break
    if not names or not argument.startswith("=", end):
        raise ConfigError(
            f"{origin.place}: write it as PATH=VALUE, such as policies.walker.total_steps=5000; "
            "quote a name that holds a dot, a space or '='"
        )
    return names, argument[end + 1 :]


def _name(found: re.Match[str], origin: Origin) -> str:
    if found["single"] is not None:
        return found["single"]
    if found["double"] is None:
        return found[0]
    try:
        return str(json.loads(found["double"]))
    except ValueError:
        raise ConfigError(
            f"{origin.place}: {one_line(found[0])} is no name; between double quotes a backslash "
            "is written twice, or use single quotes"
        ) from None


def _enter(values: dict[str, Any], names: list[str], origin: Origin) -> tuple[Any, OptionPath]:
    """The group or list that holds the last of `names`, and the path with integer positions."""
    here: Any = values
    path: OptionPath = ()
    for depth, name in enumerate(names):
        if isinstance(here, list):
            path = (*path, _position(here, name, path, origin))
        elif isinstance(here, dict):
            path = (*path, name)
        else:
            raise ConfigError(
                f"{origin.place}: {show_path(path)} is {describe(here, '')}, "
                f"which has no option {describe(name, '')}"
            )
        if depth < len(names) - 1:
            if isinstance(here, dict) and here.get(name) is None:
                _require_group(path, names[depth + 1], origin)
                here[name] = {}
            here = here[path[-1]]
    return here, path


def _require_group(path: OptionPath, name: str, origin: Origin) -> None:
    """ConfigError if the option at `path`, which was not written, cannot contain `name`."""
    known, schema = find(path)
    if known != path or "properties" in schema or "additionalProperties" in schema:
        return
    shown = show_path(path)
    if not _may_be_list(schema):
        words = f"{shown} has no options below it"
    elif schema.get("default"):
        words = f"{shown} is nowhere written, so no entry of it can be changed; give all of it"
    else:
        words = f"{shown} is empty; there is no entry {one_line(name)}"
    raise ConfigError(f"{origin.place}: {words}")


def _may_be_list(schema: Schema) -> bool:
    return any("items" in choice for choice in (schema, *schema.get("anyOf", ())))


def _position(items: list[Any], name: str, path: OptionPath, origin: Origin) -> int:
    if name.isdecimal() and int(name) < len(items):
        return int(name)
    shown = show_path(path)
    words = f"{shown} holds entries 0 to {len(items) - 1}, no {describe(name, '')}"
    if not items:
        words = f"{shown} is empty; there is no entry {one_line(name)}"
    raise ConfigError(f"{origin.place}: {words}")
