"""Turns YAML files, variables, `--set` and Python's values into a validated `RunConfig`, and back.

Paths in settings are relative to the directory in which the trainer is started, not to the file:
launched simulators run in that directory too.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel, ValidationError

from entrain.config.keywords import KEYWORD_SEPARATOR, Keyword
from entrain.config.messages import config_error
from entrain.config.old_form import modernize
from entrain.config.overrides import set_option
from entrain.config.run import RunConfig
from entrain.config.schema import json_schema
from entrain.config.source import Origin, Source, one_line, show_path
from entrain.config.yaml_text import read_yaml, write_yaml
from entrain.errors import ConfigError

MOST_BYTES = 512 * 1024
"""Of a settings file. Some hundred policies with every option written out are half of that."""

_MOST_NAMES_SHOWN = 5


def load_config(path: Path | None, overrides: Sequence[str]) -> RunConfig:
    """Read a run's settings; a ConfigError names the mistake, its place and the remedy in one line.

    Args:
        path: of the YAML file; without one, all options have their defaults.
        overrides: each PATH=VALUE, as given to `--set`, or VARIABLE=VALUE; the last one wins.
    """
    return validated(read_settings(path, overrides))


def read_settings(path: Path | None, overrides: Sequence[str]) -> Source:
    """Read a run's settings as they are written; see `load_config`. `validated` checks them."""
    if path is None:
        source = Source({}, Origin("settings", (0, 0), ""))
    else:
        source = read_yaml(read_settings_file(path), name=str(path))
        modernize(source)
    return _with_overrides(source, overrides)


def given_config(
    given: Path | Mapping[str, Any] | RunConfig | None, overrides: Sequence[str]
) -> RunConfig:
    """Returns what a Python program gives as a run's settings; ConfigError as of `load_config`.

    Args:
        given: a YAML file, its content, or options that are validated already; None: all defaults.
        overrides: as of `load_config`.
    """
    if isinstance(given, RunConfig):
        return changed_config(given, overrides) if overrides else given
    if not isinstance(given, Mapping):
        return load_config(given, overrides)
    source = Source(plain(given), Origin("the settings given", (0, 0), ""))
    modernize(source)
    return validated(_with_overrides(source, overrides))


def keyword_settings(keywords: Mapping[str, Any]) -> Sequence[str]:
    """Returns keywords of Python, `server__address="..."`, each as PATH=VALUE."""
    return [
        Keyword(
            name, f"{show_path(tuple(name.split(KEYWORD_SEPARATOR)))}={json.dumps(plain(value))}"
        )
        for name, value in keywords.items()
    ]


def plain(value: Any) -> Any:
    """Returns a value as JSON would have it, paths as text; ConfigError if it has no such form."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(name): plain(each) for name, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case PurePath():
            return str(value)
        case BaseModel():
            return value.model_dump(mode="json")
        case _ if hasattr(value, "tolist"):  # numpy's
            return plain(value.tolist())
        case _:
            raise ConfigError(
                f"the settings hold a {type(value).__name__}, {one_line(repr(value))[:200]}; "
                "expected text, numbers, true or false, None, lists, dicts, paths"
            )


def changed_config(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Returns `config` with these options changed; ConfigError as of `load_config`.

    Args:
        config: of a run.
        overrides: each PATH=VALUE, as given to `--set`.
    """
    whole = Origin("the run's configuration", (0, 0), "")
    return validated(_with_overrides(Source(config.model_dump(mode="json"), whole), overrides))


def _with_overrides(source: Source, overrides: Sequence[str]) -> Source:
    for position, argument in enumerate(overrides):
        set_option(source, argument, position=position)
    return source


def validated(source: Source) -> RunConfig:
    """Returns what the settings say; ConfigError as of `load_config`."""
    try:
        return _validated(source)
    except ValidationError as error:
        raise config_error(error, source) from None


def _validated(source: Source) -> RunConfig:
    """Validate; where text is expected, an unquoted 5 or true counts as text."""
    try:
        return RunConfig.model_validate(source.values)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            if details["type"] in {"string_type", "path_type"}:
                source.respell(details["loc"])
    return RunConfig.model_validate(source.values)


def to_yaml(config: RunConfig) -> str:
    """Every option with its value, as YAML that `load_config` reads back to an equal config."""
    return write_yaml(config.model_dump(mode="json"))


def read_settings_file(path: Path) -> str:
    """The text of a settings file of reasonable size; ConfigError if it cannot be had."""
    try:
        with path.open("rb") as file:
            # A device such as /dev/zero has no end.
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}{_near(path)}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; name a settings file{_near(path / '*')}") from None
    except OSError as error:
        # Windows says PermissionError for a folder.
        if path.is_dir():
            message = f"{path} is a folder; name a settings file{_near(path / '*')}"
            raise ConfigError(message) from None
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(
            f"{one_line(str(path))} is no path: it holds the character U+0000"
        ) from None
    if len(content) > MOST_BYTES:
        raise ConfigError(
            f"{path} has more than {MOST_BYTES // 1024} KiB; a settings file has a few, so this is "
            "probably another file"
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}:{line}: byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None


def _near(path: Path) -> str:
    """A hint at the settings file that was probably meant, or at those that exist beside `path`."""
    folder = path.parent
    if not folder.is_dir():
        return f"; there is no folder {folder} either"
    names = sorted(each.name for each in folder.iterdir() if each.suffix in {".yaml", ".yml"})
    close = difflib.get_close_matches(path.name, names, n=1)
    if close:
        return f"; did you mean {folder / close[0]}?"
    if names:
        return f" (there is: {', '.join(names[:_MOST_NAMES_SHOWN])})"
    return ""


__all__ = [
    "changed_config",
    "given_config",
    "json_schema",
    "keyword_settings",
    "load_config",
    "read_settings",
    "read_settings_file",
    "to_yaml",
    "validated",
]
