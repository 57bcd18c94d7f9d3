"""What every group of options is made of: how its values are checked, and the kinds of numbers.

Nothing here knows which options there are.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


def _refuse_lookalikes(value: Any) -> Any:
    """Neither true nor quoted text is a number, though Python would turn both into one."""
    if isinstance(value, bool | str | bytes):
        raise PydanticCustomError("number_type", "Input should be a number")
    return value


_IsNumber = BeforeValidator(_refuse_lookalikes)
Number = Annotated[float, _IsNumber]
Fraction = Annotated[float, Field(ge=0.0, le=1.0), _IsNumber]
Positive = Annotated[float, Field(gt=0.0), _IsNumber]
NonNegative = Annotated[float, Field(ge=0.0), _IsNumber]
Count = Annotated[int, Field(ge=1), _IsNumber]
CountOrZero = Annotated[int, Field(ge=0), _IsNumber]
Seed = Annotated[int, Field(ge=0, lt=2**63), _IsNumber]
Schedule = Literal["constant", "linear"]
"""linear: falls from its value to zero over the run's total steps."""


class Options(BaseModel):
    """A group of options: unknown names are errors, and nothing changes after reading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_all_defaults(cls, values: Any) -> Any:
        """A group written without any option, as when its last one was deleted."""
        return {} if values is None else values
