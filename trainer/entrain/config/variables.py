"""Options from environment variables: ENTRAIN__SERVER__ADDRESS=0.0.0.0:50051.

A variable is called ENTRAIN and the names on an option's path, in capitals, with two underscores
between them; its value is YAML, as that of `--set` is. A name that the user has chosen, such as
that of a policy, is written as it is, or in capitals with '_' for every character but letters and
digits if the settings have it already. ANY is the policy "*".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from entrain.config.schema import Schema, find
from entrain.config.source import OptionPath, describe, one_line, quoted, show_path
from entrain.errors import ConfigError

PREFIX: Final = "ENTRAIN__"
SEPARATOR: Final = "__"
ANY: Final = "ANY"
_EXAMPLE: Final = "ENTRAIN__SERVER__ADDRESS for server.address"
_NOT_IN_NAMES: Final = re.compile(r"[^A-Z0-9]")


def arguments_of(environment: Mapping[str, str]) -> Sequence[str]:
    """Returns each variable that is an option as NAME=VALUE, groups before what is inside them.

    Raises:
        ConfigError: a variable is an option but for its first underscore, which is missing.
    """
    for name in sorted(environment):
        if name.upper().startswith("ENTRAIN_") and SEPARATOR in name and not is_variable(name):
            raise ConfigError(
                f"{quoted(name)}: variables that are options begin with '{PREFIX}'; did you mean "
                f"{quoted(PREFIX + name[len('ENTRAIN_') :].lstrip('_'))}?"
            )
    names = sorted(filter(is_variable, environment), key=lambda it: (it.count(SEPARATOR), it))
    return [f"{name}={environment[name]}" for name in names]


def is_variable(argument: str) -> bool:
    """Whether `argument` begins with the name of a variable, and is not of the form of `--set`."""
    return argument.startswith(PREFIX)


def path_of(name: str, values: Mapping[str, Any]) -> list[str]:
    """The path of the option that a variable sets, as the names in `--set`.

    Args:
        name: of the variable.
        values: settings so far; names that users choose are looked up there.

    Raises:
        ConfigError: it is no path, or may be one of several.
    """
    parts = name.removeprefix(PREFIX).split(SEPARATOR)
    if not all(parts):
        raise ConfigError(
            f"{quoted(name)} has an empty part between its underscores; write {_EXAMPLE}, and an "
            "option of a name with such underscores with --set, or in the file"
        )
    path: list[str] = []
    where: OptionPath = ()
    here: Any = values
    while parts:
        schema = _schema_at(where)
        known = here if isinstance(here, Mapping) else {}
        if schema.get("additionalProperties"):
            step, taken = _chosen_name(parts, known, name, where)
        else:
            step, taken = parts[0].lower(), 1
        path.append(step)
        # Of a list's entries one schema holds for all.
        where = (*where, 0 if "items" in schema else step)
        here = known.get(step)
        parts = parts[taken:]
    return path


def _schema_at(path: OptionPath) -> Schema:
    found, schema = find(path)
    return schema if len(found) == len(path) else {}


def _chosen_name(
    parts: Sequence[str], known: Iterable[str], variable: str, path: OptionPath
) -> tuple[str, int]:
    """A name that the user has chosen, and how many of `parts` it takes."""
    texts = [SEPARATOR.join(parts[:taken]) for taken in range(1, len(parts) + 1)]
    for taken, text in enumerate(texts, start=1):
        if text in known:
            return text, taken
    alike = [
        (name, taken)
        for taken, text in enumerate(texts, start=1)
        for name in known
        if _in_capitals(name) == text.upper()
    ]
    if len(alike) > 1:
        names = ", ".join(describe(name, "") for name, _ in alike)
        raise ConfigError(
            f"{quoted(variable)} may mean each of {names} in {show_path(path)}; write "
            "the name as it is, or use --set or the file"
        )
    if alike:
        return alike[0]
    text = parts[0]
    if text == ANY:
        return "*", 1
    # In capitals because all of the variable is: no name was found that says otherwise.
    return (text.lower() if text == text.upper() else one_line(text)), 1


def _in_capitals(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name.upper())
