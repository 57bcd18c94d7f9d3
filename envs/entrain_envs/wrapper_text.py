"""Reads a wrapper and its arguments from text: MODULE:CLASS(key=literal, ...).

Arguments are keywords with Python literals (numbers, text, true or false, None, tuples, lists,
dicts); nothing is evaluated. This module imports no wrapper.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NAMED = re.compile(r"(?P<name>[A-Za-z_][\w.]*:[A-Za-z_][\w.]*)(?P<call>\(.*)?", re.DOTALL)

_LONGEST = 4096
"""Characters of a wrapper's text; longer ones are mistakes, and Python's parser may crash on
very long ones."""

EXAMPLE = "gymnasium.wrappers:FrameStackObservation(stack_size=4)"


@dataclass(frozen=True)
class WrapperText:
    """A wrapper as it was typed."""

    name: str
    """MODULE:CLASS."""

    arguments: Mapping[str, Any]
    """Keywords that the wrapper is made with, beside the environment."""


def read_wrapper(text: str) -> WrapperText:
    """Read one wrapper; ValueError names the column, counted from 1, and what is wrong there."""
    if len(text) > _LONGEST:
        raise _wrong(_LONGEST, f"the text has {len(text):,} characters; at most {_LONGEST:,}")
    found = _NAMED.fullmatch(text)
    if found is None:
        raise _wrong(_name_ends(text), f"expected MODULE:CLASS or {EXAMPLE}")
    if found["call"] is None:
        return WrapperText(found["name"], {})
    return WrapperText(found["name"], _arguments(found["call"], before=len(found["name"])))


def _arguments(call: str, *, before: int) -> Mapping[str, Any]:
    """The keywords in `call`, "(key=literal, ...)", which has `before` characters before it."""
    try:
        tree = ast.parse(f"f{call}", mode="eval").body
    except SyntaxError as error:
        raise _wrong(
            before + max((error.offset or 2) - 2, 0), f"{error.msg}; expected (key=literal, ...)"
        ) from None
    except (RecursionError, MemoryError):
        raise _wrong(before, "too many brackets are nested in each other") from None

    def column(node: ast.AST) -> int:
        # ast counts bytes, and the "f" that stands for the name.
        characters = f"f{call}".encode()[: node.col_offset].decode()  # type: ignore[attr-defined]
        return before + len(characters) - 1

    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise _wrong(before, "expected one pair of brackets, (key=literal, ...)")
    if tree.args:
        raise _wrong(column(tree.args[0]), "an argument has no name; write key=literal")
    arguments: dict[str, Any] = {}
    for keyword in tree.keywords:
        if keyword.arg is None:
            raise _wrong(column(keyword), "'**' is not understood; write each key=literal")
        if keyword.arg in arguments:
            raise _wrong(column(keyword), f"'{keyword.arg}' is given twice")
        arguments[keyword.arg] = _literal(keyword, column(keyword.value))
    return arguments


def _literal(keyword: ast.keyword, column: int) -> Any:
    try:
        return ast.literal_eval(keyword.value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise _wrong(
            column,
            f"the value of '{keyword.arg}' is no literal; write a number, 'text', True, False, "
            "None, or a tuple, list or dict of these",
        ) from None


def _name_ends(text: str) -> int:
    """Returns how many characters of `text` fit MODULE:CLASS."""
    found = re.match(r"[A-Za-z_][\w.]*(:([A-Za-z_][\w.]*)?)?", text)
    return found.end() if found else 0


def _wrong(column: int, words: str) -> ValueError:
    return ValueError(f"column {column + 1}: {words}")
