"""Sorts the tensors of a policy into layers, and names the parts of its network in words.

Tensors are known by the names that `state_dict` gives them.
"""

import re
from collections.abc import Collection

from entrain.policy.encoders import of_kind
from entrain_envs.spec import BehaviourSpec

ENCODERS = "backbone.trunk.encoder.encoders."
"""Begins the names of what is in encoders of images and entities; their number follows."""

_INNER = re.compile(r"(\.(norm|code|spread|normalizer)|_norm)$")
"""Modules that mean nothing without the layer that they are in or beside."""

_WORDS = (
    (r"backbone\.memory", "memory"),
    (r"backbone\.memory\.layers\.(\d+)", "layer {} of memory"),
    (r"backbone\.trunk\.hidden_layers", "hidden layers"),
    (r"backbone\.trunk\.hidden_layers\.(?:first\.)?layers\.(\d+)", "hidden layer {}"),
    (r"backbone\.trunk\.hidden_layers\.layers", "hidden layers none of which goals generate"),
    (r"backbone\.trunk\.hidden_layers\.first", "hidden layers before the one that goals generate"),
    (r"backbone\.trunk\.hidden_layers\.last", "hidden layer that goals generate"),
    (r"backbone\.trunk\.hidden_layers\..*norm", "layer normalisation"),
    (r"backbone\.trunk\.networks", "layers of network.custom"),
)
"""(a part, what it is called); numbers are counted from 1 there."""


def module_of(name: str) -> str:
    """The module that a tensor is a parameter or buffer of."""
    return name.rpartition(".")[0]


def layer_of(name: str) -> str:
    """The layer that a tensor belongs to, with all that is nothing without it."""
    # The norm of a layer that goals generate is beside it.
    module = module_of(name).replace("hidden_layers.norm", "hidden_layers.last.norm")
    return _INNER.sub("", module)


def missing_part(name: str, others: Collection[str], inputs: BehaviourSpec) -> str:
    """Names, in words, the largest part around the tensor `name` of which `others` have nothing.

    Args:
        name: of a tensor.
        others: names of tensors, not with this one.
        inputs: of the policy that has the tensor.
    """
    if name.startswith(ENCODERS):
        index = int(name.removeprefix(ENCODERS).split(".")[0])
        return f"encoder of '{of_kind(inputs, 'image', 'entities')[index].name}'"
    pieces = name.split(".")
    parts = (".".join(pieces[:count]) for count in range(1, len(pieces) + 1))
    missing = next(
        part for part in parts if not any(f"{it}.".startswith(f"{part}.") for it in others)
    )
    for pattern, words in _WORDS:
        if found := re.fullmatch(pattern, missing):
            return words.format(*(int(number) + 1 for number in found.groups()))
    return f"'{missing}'"
