"""Convert a behaviour's spec to the message that says it, and back."""

from collections.abc import Mapping
from types import MappingProxyType

from entrain_envs.errors import WireError
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.wire import trainer_pb2 as pb

_WIRE_DTYPE: Mapping[str, pb.Dtype] = MappingProxyType(
    {"float32": pb.DTYPE_FLOAT32, "uint8": pb.DTYPE_UINT8}
)
_DTYPE_NAME: Mapping[int, str] = MappingProxyType(
    {number: name for name, number in _WIRE_DTYPE.items()}
)
_WIRE_KIND: Mapping[str, pb.ObservationKind] = MappingProxyType(
    {
        "vector": pb.OBSERVATION_KIND_VECTOR,
        "image": pb.OBSERVATION_KIND_IMAGE,
        "entities": pb.OBSERVATION_KIND_ENTITIES,
        "goal": pb.OBSERVATION_KIND_GOAL,
    }
)
_WIRE_FALLBACK: Mapping[str, pb.Fallback] = MappingProxyType(
    {
        "": pb.FALLBACK_UNSPECIFIED,
        "last": pb.FALLBACK_LAST_ACTION,
        "neutral": pb.FALLBACK_NEUTRAL,
        "controller": pb.FALLBACK_CONTROLLER,
    }
)
_FALLBACK_NAME: Mapping[int, str] = MappingProxyType(
    {number: name for name, number in _WIRE_FALLBACK.items()}
)
_KIND_NAME: Mapping[int, str] = MappingProxyType(
    {number: name for name, number in _WIRE_KIND.items()}
)


def encode_spec(spec: BehaviourSpec) -> pb.BehaviourSpec:
    """Write a spec for the Hello."""
    return pb.BehaviourSpec(
        name=spec.name,
        observations=[
            pb.ObservationSpec(
                name=observation.name,
                shape=observation.shape,
                dtype=_WIRE_DTYPE[observation.dtype],
                kind=_WIRE_KIND[observation.kind],
                low=observation.low,
                high=observation.high,
            )
            for observation in spec.observations
        ],
        action=pb.ActionSpec(
            low=spec.action.low, high=spec.action.high, branches=spec.action.branches
        ),
        deadline_ms=spec.deadline_ms,
        fallback=_WIRE_FALLBACK[spec.fallback],
    )


def decode_spec(message: pb.BehaviourSpec) -> BehaviourSpec:
    """Read a spec.

    Raises:
        WireError: the number of a dtype, kind or fallback is unknown.
        SpecError: the spec contradicts itself.
    """
    return BehaviourSpec(
        name=message.name,
        observations=tuple(
            ObservationSpec(
                name=observation.name,
                shape=tuple(observation.shape),
                dtype=_dtype_name(message.name, observation),
                kind=_kind_name(message.name, observation),
                low=tuple(observation.low),
                high=tuple(observation.high),
            )
            for observation in message.observations
        ),
        action=ActionSpec(
            low=tuple(message.action.low),
            high=tuple(message.action.high),
            branches=tuple(message.action.branches),
        ),
        deadline_ms=message.deadline_ms,
        fallback=_fallback_name(message),
    )


def _fallback_name(message: pb.BehaviourSpec) -> str:
    name = _FALLBACK_NAME.get(message.fallback)
    if name is None:
        known = [f"{number} ({each})" for number, each in _FALLBACK_NAME.items() if number]
        raise WireError(
            f"behaviour '{message.name}' has fallback number {message.fallback}; expected one of "
            f"{', '.join(known)}, or 0 for none"
        )
    return name


def _dtype_name(behaviour: str, observation: pb.ObservationSpec) -> str:
    return _name_of(observation.dtype, _DTYPE_NAME, "dtype", behaviour, observation)


def _kind_name(behaviour: str, observation: pb.ObservationSpec) -> str:
    """The kind, or empty if the simulator gave none: the spec then decides."""
    if observation.kind == pb.OBSERVATION_KIND_UNSPECIFIED:
        return ""
    return _name_of(observation.kind, _KIND_NAME, "kind", behaviour, observation)


def _name_of(
    number: int,
    names: Mapping[int, str],
    field: str,
    behaviour: str,
    observation: pb.ObservationSpec,
) -> str:
    try:
        return names[number]
    except KeyError:
        raise WireError(
            f"behaviour '{behaviour}', observation '{observation.name}' has {field} number "
            f"{number}; expected one of "
            f"{', '.join(f'{known} ({name})' for known, name in names.items())}"
        ) from None
