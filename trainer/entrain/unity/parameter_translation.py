"""What ML-Agents' `environment_parameters` mean in ours."""

from collections.abc import Mapping
from typing import Final

from entrain.config.source import OptionPath
from entrain.unity.draft import Draft
from entrain.unity.stock_parameters import StockConstant, StockCurriculum, StockParameter

_GROUP: Final = "environment_parameters"


def translate_parameters(draft: Draft, parameters: Mapping[str, StockParameter]) -> None:
    """Set `environment_parameters` in the draft."""
    for name, parameter in parameters.items():
        path: OptionPath = (_GROUP, name)
        if isinstance(parameter, StockConstant):
            draft.set(path, parameter.sampler_parameters.value, "a constant sampler")
        else:
            draft.set(path, parameter, _GROUP)


def missing_form(parameter: StockParameter) -> str:
    """What the parameter needs and is not built yet; "" if nothing."""
    if isinstance(parameter, StockConstant | int | float):
        return ""
    return "curriculum" if isinstance(parameter, StockCurriculum) else "sampler"
