"""Native YAML that says what ML-Agents settings mean, with a remark beside every option."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from entrain.config.source import OptionPath
from entrain.config.yaml_text import write_yaml
from entrain.unity.stock_file import StockFile
from entrain.unity.translation import Translation

_REMARKS_BEGIN: Final = 48
"""The column of the remarks, where the options leave room for it."""


_COMMANDS: Final = {
    "resume": "entrain resume",
    "inference": "entrain evaluate",
    "force": "an empty folder, for entrain train overwrites nothing",
}
"""{key of checkpoint_settings: what does the same in entrain}."""


def native_yaml(translation: Translation, file: StockFile) -> str:
    """The text of a settings file that `load_config` reads to an equal configuration.

    Args:
        translation: of `file`.
        file: of ML-Agents settings.
    """
    asked = file.run.checkpoint_settings
    lines = [
        f"# {_one_line(file.source.whole.place)} in the options of entrain, each with the key of "
        "ML-Agents that it comes from.",
        *(f"# No equal here: {_one_line(note)}." for note in translation.notes),
        *(f"# No option: {key} is {it}." for key, it in _COMMANDS.items() if getattr(asked, key)),
        *_lines(translation.config.model_dump(mode="json", exclude_unset=True), (), translation),
    ]
    return "\n".join([*lines, ""])


def _lines(group: Mapping[str, Any], path: OptionPath, translation: Translation) -> Iterator[str]:
    indent = "  " * len(path)
    for name, value in group.items():
        here = (*path, name)
        if isinstance(value, Mapping) and value and here not in translation.remarks:
            yield f"{indent}{write_yaml({name: None}).rstrip().removesuffix(' null')}"
            yield from _lines(value, here, translation)
            continue
        first, *more = write_yaml({name: value}).rstrip("\n").split("\n")
        remark = translation.remarks.get(here, "")
        yield (
            f"{indent + first:{_REMARKS_BEGIN}}  # {remark}".rstrip(" #")
            if remark
            else (indent + first)
        )
        yield from (indent + line for line in more)


def _one_line(text: str) -> str:
    return " ".join(text.split())
