"""Who else is told how a run goes: objects of Python classes that the settings name."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from entrain.config.fields import Options, Positive

_PATH: Final = r"^[\w.]+:\w+$"
_IN_WORDS: Final = "PACKAGE.MODULE:CLASS, such as entrain.observers:Wandb"


class ObserverConfig(Options):
    """One observer: an object of a class of yours, or of `entrain.observers` (docs/python.md)."""

    model_config = ConfigDict(serialize_by_alias=True)

    class_: str = Field(
        alias="class", pattern=_PATH, json_schema_extra={"patternErrorMessage": _IN_WORDS}
    )
    """PACKAGE.MODULE:CLASS. The module may lie in the folder in which the trainer is started."""

    options: Annotated[dict[str, Any], WithJsonSchema({"type": "object"})] = Field(default={})
    """What the class is constructed with, as keywords."""

    wait_s: Positive = 15.0
    """How long the end of the run may wait for it to take what it was told."""


@dataclass(frozen=True)
class _NameOrGroup:
    """Marks a group that its class's name may stand for."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validate as the group."""
        return core_schema.no_info_before_validator_function(_as_group, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Text, or the group."""
        text = {"type": "string", "pattern": _PATH, "patternErrorMessage": _IN_WORDS}
        return {"anyOf": [text, handler(schema)]}


def _as_group(value: Any) -> Any:
    is_name = isinstance(value, str) and re.fullmatch(_PATH, value)
    return {"class": value} if is_name else value


Observed = Annotated[ObserverConfig, _NameOrGroup()]
