"""The base of every group of ML-Agents settings, and the types of value that they hold.

Values are parsed as generously as in mlagents-learn, or more so. Its YAML reader takes `1.0e7` and
`3e-4` for text, so users rely on text being converted to numbers. Ours takes `yes` and `off` for
text.
"""

import contextlib
import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

_TRUE = {"true", "yes", "on"}
_FALSE = {"false", "no", "off"}


def _number(value: Any) -> Any:
    """A number, also of text."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value.replace("_", ""))
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise PydanticCustomError("stock_number", "a number")
    return value


def _whole_number(value: Any) -> Any:
    """A whole number, also one such as 1.0e7."""
    try:
        number = value if type(value) is int else _number(value)
    except PydanticCustomError:
        number = 0.5
    if number != int(number):
        raise PydanticCustomError("stock_number", "a whole number")
    return int(number)


def _truth(value: Any) -> Any:
    word = value.lower() if isinstance(value, str) else value
    if word in _TRUE or word is True:
        return True
    if word in _FALSE or word is False:
        return False
    raise PydanticCustomError("stock_truth", "true or false")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


StockNumber = Annotated[float, BeforeValidator(_number)]
StockFraction = Annotated[float, Field(ge=0.0, le=1.0), BeforeValidator(_number)]
StockPositive = Annotated[float, Field(gt=0.0), BeforeValidator(_number)]
StockNonNegative = Annotated[float, Field(ge=0.0), BeforeValidator(_number)]
StockInteger = Annotated[int, BeforeValidator(_whole_number)]
StockCount = Annotated[int, Field(ge=1), BeforeValidator(_whole_number)]
StockCountOrZero = Annotated[int, Field(ge=0), BeforeValidator(_whole_number)]
StockCountOrUnlimited = Annotated[int, Field(ge=-1), BeforeValidator(_whole_number)]
StockTruth = Annotated[bool, BeforeValidator(_truth)]
StockSchedule = Literal["linear", "constant"]


class StockOptions(BaseModel):
    """A group of ML-Agents settings, in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_all_defaults(cls, values: Any) -> Any:
        """A group that is written but empty has its defaults."""
        return {} if values is None else values


class LenientStockOptions(StockOptions):
    """A group in which mlagents-learn ignores unknown keys; `stock_file` warns about them."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")
