"""Native settings while they are put together, each with the words that say where it comes from."""

from dataclasses import dataclass, field
from typing import Any

from entrain.config.source import OptionPath


@dataclass
class Draft:
    """Values of native options, by group, with remarks. Owned by whoever translates one file."""

    values: dict[str, Any] = field(default_factory=dict)

    remarks: dict[OptionPath, str] = field(default_factory=dict)
    """{path: where its value comes from}."""

    notes: list[str] = field(default_factory=list)
    """What was asked for and has no equal here, in sentences."""

    def set(
        self, path: str | OptionPath, value: Any, remark: str, *, within: OptionPath = ()
    ) -> None:
        """Set one option.

        Args:
            path: such as "algorithm.clip_range"; a tuple if it holds a name of the user's.
            value: as YAML would give it.
            remark: where it comes from: a key of ML-Agents, or its way of doing things.
            within: the group that `path` starts from.
        """
        whole = (*within, *(path.split(".") if isinstance(path, str) else path))
        here = self.values
        for group in whole[:-1]:
            here = here.setdefault(str(group), {})
        here[str(whole[-1])] = value
        self.remarks[whole] = remark
