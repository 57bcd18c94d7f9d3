"""Native options under construction, each with a remark on where its value comes from."""

from dataclasses import dataclass, field
from typing import Any

from entrain.config.source import OptionPath


@dataclass
class Draft:
    """Values of native options, by group, with remarks. Owned by the translation of one file."""

    values: dict[str, Any] = field(default_factory=dict)

    remarks: dict[OptionPath, str] = field(default_factory=dict)
    """{path: where its value comes from}."""

    notes: list[str] = field(default_factory=list)
    """Sentences about settings that have no native equivalent."""

    def set(
        self, path: str | OptionPath, value: Any, remark: str, *, within: OptionPath = ()
    ) -> None:
        """Set one option.

        Args:
            path: such as "algorithm.clip_range"; a tuple if it holds a name of the user's.
            value: as YAML would give it.
            remark: where the value comes from: a key of ML-Agents, or a habit of mlagents-learn.
            within: the group that `path` starts from.
        """
        whole = (*within, *(path.split(".") if isinstance(path, str) else path))
        here = self.values
        for group in whole[:-1]:
            here = here.setdefault(str(group), {})
        here[str(whole[-1])] = value
        self.remarks[whole] = remark
