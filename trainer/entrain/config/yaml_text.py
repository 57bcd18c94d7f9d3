"""Reads YAML text into plain values with the line and spelling of each, and writes it.

The rules are those of YAML 1.2, as in editors: `1e-3` is a number, and `on`, `off`, `yes` and `no`
are words. Nothing here knows which options there are.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import yaml

from entrain.config.source import OptionPath, Origin, Source, describe, show_path
from entrain.errors import ConfigError

_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}
"""Which unquoted scalars are not text: {tag: (pattern of the whole, what it may begin with)}.
The core schema of YAML 1.2, and two things that users of 1.1 expect: 1_000_000 and `<<`."""


MOST_VALUES = 20_000
"""Names and values in one document, those that aliases repeat included. Some 160 policies with
every option written out have as many."""

MOST_NESTED = 40
"""Groups and lists inside each other."""


class _Loader(yaml.SafeLoader):
    """Composes nodes, which have line numbers. Never builds objects."""

    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node, unless it is one too many or too deep."""
        self.depth += 1
        self.nodes += 1
        if self.depth > MOST_NESTED or self.nodes > MOST_VALUES:
            problem = _TOO_DEEP if self.depth > MOST_NESTED else _TOO_MANY
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, problem, mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


_TOO_DEEP: Final = (
    f"more than {MOST_NESTED} lists or groups are nested in each other; settings need a few"
)
_TOO_MANY: Final = (
    f"the file has more than {MOST_VALUES:,} names and values (what '*name' repeats counts); "
    "settings need a few hundred"
)


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would read as something else.

    Flat lists are written in one line, groups in a line for each option.
    """


def _represent_list(dumper: _Dumper, items: list[Any]) -> yaml.Node:
    flat = not any(isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence(f"{_TAG}seq", items, flow_style=flat)


_Dumper.add_representer(list, _represent_list)
_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first)


def read_yaml(text: str, *, name: str) -> Source:
    """Read the text of a settings file; a ConfigError names the first mistake.

    Args:
        text: of the whole file.
        name: of the file, as messages show it.
    """

    def locate(line: int, written: str) -> Origin:
        return Origin(f"{name}:{line}", (0, line), written)

    values, origins = read_value(text, (), locate)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        origin = origins[()]
        raise ConfigError(
            f"{origin.place}: the file holds {describe(values, origin.written)}; "
            "it must hold options, each as 'name: value'"
        )
    return Source(values, Origin(name, (0, 0), ""), origins)


def write_yaml(values: Mapping[str, Any]) -> str:
    """YAML text that `read_yaml` reads back to equal values."""
    return yaml.dump(
        dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000
    )


def read_value(
    text: str, path: OptionPath, locate: Callable[[int, str], Origin]
) -> tuple[Any, dict[OptionPath, Origin]]:
    """Read any YAML document: its value, and the origin of every part of it.

    Args:
        text: one YAML document.
        path: of its value in the settings.
        locate: (line from 1, spelling) -> origin.
    """
    reader = _Reader(locate)
    node = reader.compose(text)
    value = None if node is None else reader.value(node, path)
    reader.origins.setdefault(path, locate(1, ""))
    return value, reader.origins


class _Reader:
    """Turns the nodes of one YAML document into values, and records where each was written."""

    def __init__(self, locate: Callable[[int, str], Origin]) -> None:
        self._locate = locate
        self._values = 0
        self.origins: dict[OptionPath, Origin] = {}

    def compose(self, text: str) -> yaml.Node | None:
        try:
            return yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = 1 if mark is None else mark.line + 1
            problem = ", ".join(filter(None, [error.context, error.problem]))
            if error.problem in {_TOO_DEEP, _TOO_MANY}:
                raise self._error(line, problem) from None
            raise self._error(line, f"this is not YAML: {problem}{_remedy(problem)}") from None
        except yaml.reader.ReaderError as error:
            line = text[: error.position].count("\n") + 1
            character = f"U+{ord(text[error.position]):04X}"
            raise self._error(line, f"this is not YAML: delete the character {character}") from None

    def value(self, node: yaml.Node, path: OptionPath) -> Any:
        line = node.start_mark.line + 1
        self._count(line, path)
        written = node.value if isinstance(node, yaml.ScalarNode) else ""
        self.origins.setdefault(path, self._locate(line, written))
        tag = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and tag == "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and _fits(tag, node.value):
            self._require_text(line, node.value)
            return _scalar(tag, node.value)
        raise self._error(
            line,
            f"{show_path(path) or 'the file'} has the tag '{node.tag}'; settings are plain text, "
            "numbers, lists and groups: delete the tag",
        )

    def _count(self, line: int, path: OptionPath) -> None:
        """Count one more value. An alias is the same node again, and may even contain itself."""
        self._values += 1
        if self._values > MOST_VALUES:
            raise self._error(line, _TOO_MANY)
        if len(path) > MOST_NESTED:
            raise self._error(line, f"{_TOO_DEEP}, or does one contain itself?")

    def _mapping(self, node: yaml.MappingNode, path: OptionPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in self._pairs(node, path):
            line = key.start_mark.line + 1
            self._require_text(line, key.value)
            written = value.value if isinstance(value, yaml.ScalarNode) else ""
            here = (*path, key.value)
            self.origins[here] = self._locate(line, written)
            values[key.value] = self.value(value, here)
        return values

    def _require_text(self, line: int, text: str) -> None:
        """Refuse what no file name and no file of ours could hold."""
        if problem := not_text(text):
            raise self._error(line, problem)

    def _pairs(
        self, node: yaml.MappingNode, path: OptionPath, *, depth: int = 0
    ) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """Names and values of a group, then those that `<<: *anchor` adds, `depth` anchors down."""
        if depth > MOST_NESTED:
            raise self._error(node.start_mark.line + 1, f"{_TOO_DEEP}, or does one contain itself?")
        pairs: dict[str, tuple[yaml.ScalarNode, yaml.Node]] = {}
        merged: list[yaml.Node] = []
        for key, value in node.value:
            line = key.start_mark.line + 1
            if depth:
                self._count(line, path)
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(
                    line, "the name of an option is a list or a group; it must be text"
                )
            if key.tag == f"{_TAG}merge":
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
            elif key.value in pairs:
                first = pairs[key.value][0].start_mark.line + 1
                raise self._error(
                    line,
                    f"{show_path((*path, key.value))} is given twice; "
                    f"the first is in line {first}, delete one of them",
                )
            else:
                pairs[key.value] = (key, value)
        for other in merged:
            if not isinstance(other, yaml.MappingNode):
                raise self._error(
                    other.start_mark.line + 1,
                    "'<<' needs a group of options; write '<<: *name' for a group marked '&name'",
                )
            for inherited, value in self._pairs(other, path, depth=depth + 1):
                pairs.setdefault(inherited.value, (inherited, value))
        return list(pairs.values())

    def _error(self, line: int, message: str) -> ConfigError:
        return ConfigError(f"{self._locate(line, '').place}: {message}")


def not_text(text: str) -> str:
    """Says which character no option may hold; "" if all are well."""
    for character in text:
        if character == "\0" or "\ud800" <= character <= "\udfff":
            return f"the character U+{ord(character):04X} is no text; delete it"
    return ""


def _fits(tag: str, text: str) -> bool:
    """Whether the text is a value of the tag; `!!bool maybe` is not."""
    if tag in _SCALARS:
        return re.fullmatch(_SCALARS[tag][0], text) is not None
    return tag == "str"


def _scalar(tag: str, text: str) -> str | int | float | bool | None:
    match tag:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return _integer(text.replace("_", ""))
        case "float":
            number = text.lower().replace("_", "")
            return float(number.replace(".inf", "inf").replace(".nan", "nan"))
        case _:
            return text


def _integer(digits: str) -> int | float:
    try:
        return int(digits, 0 if digits.startswith(("0x", "0o")) else 10)
    except ValueError:
        # Python refuses to read thousands of digits: it is beyond every bound anyway.
        return float(digits)


def _remedy(problem: str) -> str:
    if "'\\t'" in problem:
        return "; indent with spaces, not with tabs"
    if "mapping values are not allowed here" in problem:
        return "; indent the options of one group alike, and quote text that holds ': '"
    return ""
