"""The base of every group of options, and the types of number that options hold.

Nothing here knows which options there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


def _refuse_lookalikes(value: Any) -> Any:
    """Refuse true, false and quoted text, which pydantic would turn into numbers."""
    if isinstance(value, bool | str | bytes):
        raise PydanticCustomError("number_type", "Input should be a number")
    return value


_IsNumber = BeforeValidator(_refuse_lookalikes)
Number = Annotated[float, _IsNumber]
Fraction = Annotated[float, Field(ge=0.0, le=1.0), _IsNumber]
FractionBelowOne = Annotated[float, Field(ge=0.0, lt=1.0), _IsNumber]
Positive = Annotated[float, Field(gt=0.0), _IsNumber]
NonNegative = Annotated[float, Field(ge=0.0), _IsNumber]
AtLeastOne = Annotated[float, Field(ge=1.0), _IsNumber]
Count = Annotated[int, Field(ge=1), _IsNumber]
CountOrZero = Annotated[int, Field(ge=0), _IsNumber]
ZeroOrOne = Annotated[int, Field(ge=0, le=1), _IsNumber]
WholeNumber = Annotated[int, _IsNumber]
CountOrUnlimited = Annotated[int, Field(ge=-1), _IsNumber]
"""-1: without a limit."""
Port = Annotated[int, Field(ge=0, le=65535), _IsNumber]
"""0: any free one."""
Seed = Annotated[int, Field(ge=0, lt=2**63), _IsNumber]
Schedule = Literal["constant", "linear"]
"""linear: goes from the given value to its final one, over the policy's total steps."""


class Options(BaseModel):
    """A group of options. Unknown names are errors, and values never change after validation."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_all_defaults(cls, values: Any) -> Any:
        """A group that is written but empty has its defaults."""
        return {} if values is None else values


@dataclass(frozen=True)
class OneOfKinds:
    """Marks a union of option groups: the value of `kind` says which of them is meant.

    Each group of the union is chosen by the text in its `kind: Literal["..."]`. pydantic's own
    discriminator needs at least two groups, and a `kind` in every value; this one does not.
    """

    default: str
    """The kind of a value that does not name one."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validate with the group that `kind` names; pydantic reports an unknown kind."""
        groups = get_args(source) or (source,)
        choices = {_kind_of(group): handler.generate_schema(group) for group in groups}
        return core_schema.no_info_before_validator_function(
            self._with_kind, core_schema.tagged_union_schema(choices, discriminator="kind")
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """`oneOf` with a discriminator. Only the default group is valid without its `kind`."""
        union = handler(schema)
        by_reference = {ref: kind for kind, ref in union["discriminator"]["mapping"].items()}
        union["oneOf"] = [
            choice
            if by_reference[choice["$ref"]] == self.default
            else {**choice, "required": ["kind"]}
            for choice in union["oneOf"]
        ]
        return union

    def _with_kind(self, value: Any) -> Any:
        if value is None:
            return {"kind": self.default}
        if isinstance(value, Mapping) and "kind" not in value:
            return {"kind": self.default, **value}
        return value


@dataclass(frozen=True)
class NumberOrKinds:
    """Marks a union of a number and option groups: a group's `kind` says which of them is meant."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validate with the group that `kind` names, or as a number what is no group."""
        number, *groups = get_args(source)
        choices = {_kind_of(group): handler.generate_schema(group) for group in groups}
        return core_schema.tagged_union_schema(
            {_NUMBER: handler.generate_schema(number), **choices}, discriminator=_number_or_kind
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """`anyOf` a number and a choice of groups, each with its `kind`."""
        number, *groups = handler(schema)["oneOf"]
        kinds = [kind for kind in schema["choices"] if kind != _NUMBER]
        mapping = {kind: group["$ref"] for kind, group in zip(kinds, groups, strict=True)}
        return {
            "anyOf": [
                number,
                {
                    "discriminator": {"propertyName": "kind", "mapping": mapping},
                    "oneOf": [{**group, "required": ["kind"]} for group in groups],
                },
            ]
        }


_NUMBER = "a number"
"""Stands for the number among the kinds."""


def _number_or_kind(value: Any) -> str | None:
    """The kind of a group, None if it has none; of anything else, that it is to be a number."""
    if isinstance(value, Options):
        return str(getattr(value, "kind", None))
    if isinstance(value, Mapping):
        return str(value["kind"]) if value.get("kind") is not None else None
    return _NUMBER


def _kind_of(group: type[Options]) -> str:
    (kind,) = get_args(group.model_fields["kind"].annotation)
    return str(kind)
