"""Settings that a Python program gives as keywords: `server__address="localhost:0"`."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

from entrain.config.schema import ANY_NAME, options
from entrain.errors import ConfigError

KEYWORD_SEPARATOR: Final = "__"
"""Between the names of a path, in a keyword of Python: `server__address`."""

_ALIKE: Final = 0.7
"""What is less alike is no misspelling."""


class Keyword(str):
    """An override, PATH=VALUE, that a Python program gave as a keyword: messages name that."""

    __slots__ = ("name",)

    name: str
    """The keyword."""

    def __new__(cls, name: str, argument: str) -> "Keyword":
        """`argument` of the keyword `name`."""
        made = super().__new__(cls, argument)
        made.name = name
        return made


def require_known(keywords: Iterable[str], *, function: str, arguments: Sequence[str]) -> None:
    """ConfigError if a keyword is probably a misspelt argument, or an option with one underscore.

    What else is no option is told as any override is.

    Args:
        keywords: that were taken for options.
        function: that was called.
        arguments: of it, beside options.
    """
    paths = [path for path, _ in options() if not {ANY_NAME, 0} & set(path)]
    written = {_with_one(KEYWORD_SEPARATOR.join(map(str, path))): path for path in paths}
    for name in keywords:
        if (name.split(KEYWORD_SEPARATOR)[0],) in paths:
            continue
        near = difflib.get_close_matches(name, arguments, n=1, cutoff=_ALIKE)
        if _with_one(name) in written:
            near = [KEYWORD_SEPARATOR.join(map(str, written[_with_one(name)]))]
        if near:
            raise ConfigError(
                f"the keyword {name}: {function} has no such argument, and a run no such option; "
                f"did you mean '{near[0]}'?"
            )


def _with_one(name: str) -> str:
    """The name, as who does not know of two underscores would write it."""
    return name.replace(KEYWORD_SEPARATOR, "_")
