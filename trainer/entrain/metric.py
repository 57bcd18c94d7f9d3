"""The description of one metric: its name, its unit, its meaning, and how people read it.

Nothing here knows which metrics there are; `metrics` declares them.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

Better: TypeAlias = Literal["more is better", "less is better", "neither more nor less is better"]
NEITHER: Better = "neither more nor less is better"
EACH = "N"
"""Placeholder for a number in the name of a metric that exists for each action dimension."""
EACH_NAME = "NAME"
"""Placeholder for a name that users choose."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number that is measured with every update, or one for each dimension or name."""

    name: str
    """As in metrics.csv and TensorBoard; `policy/sigma/N` is `policy/sigma/0`, `/1` and so on."""

    title: str = ""
    """Above its picture in the report; "" if it has none."""

    unit: str = ""
    """Unit of the number; "" if it has none."""

    better: Better = NEITHER

    shown: str = ".3g"
    """How it is written for people: a format of Python."""

    meaning: str
    """Sentences: what is measured, over what."""

    remedy: str
    """Sentences: what a healthy curve does, what else it may do, and what to change then."""

    when: str = ""
    """When it is written; "" if it is after every update."""

    is_of_all_ranks: bool = True
    """With several ranks: whether it is of the steps of all, or of the first rank alone."""

    @property
    def is_family(self) -> bool:
        """Whether there is one for each action dimension, or for each name."""
        return self.name.endswith((f"/{EACH}", f"/{EACH_NAME}"))

    @property
    def prefix(self) -> str:
        """The part of the name before the number or name, for a family of metrics."""
        return self.name.removesuffix(EACH_NAME).removesuffix(EACH)

    def of(self, member: int | str) -> str:
        """Returns the name of one member of a family: of a dimension, or of a name."""
        return f"{self.prefix}{member}"

    def has_name(self, name: str) -> bool:
        """Whether `name` is this metric or, if it is a family, one of its members."""
        if self.name.endswith(f"/{EACH_NAME}"):
            return name.startswith(self.prefix) and name != self.prefix
        if self.is_family:
            return name.startswith(self.prefix) and name.removeprefix(self.prefix).isdecimal()
        return name == self.name

    def text(self, value: float) -> str:
        """Returns `value` as people read it; a dash if it is not a finite number."""
        return number(value, self.shown)


MOST_ROUNDED = 0.005
"""Share of a number that decimals may round away; beyond it, it has three significant digits."""

MOST_SPELT_OUT = 1e15
"""From here on, a number has three significant digits and an exponent."""


def number(value: float, form: str) -> str:
    """Returns `value` as people read it: 34.1, but 0.965 and 1e-09 and not 1.0 and 0.0.

    Args:
        value: any number; a dash if it is not finite.
        form: a format of Python. One with decimals, such as `,.1f`, gives way to three significant
            digits where it would round away more than half a percent of the value.
    """
    if not math.isfinite(value):
        return "-"
    if abs(value) >= MOST_SPELT_OUT:
        return f"{value:.3g}"
    text = format(value, form)
    has_decimals = form.endswith("f") and not form.endswith(".0f")
    if has_decimals and abs(float(text.replace(",", "")) - value) > MOST_ROUNDED * abs(value):
        return f"{value:.3g}"
    return text
