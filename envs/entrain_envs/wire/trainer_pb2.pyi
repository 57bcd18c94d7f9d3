from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_EVALUATION: _ClassVar[Role]

class Fallback(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FALLBACK_UNSPECIFIED: _ClassVar[Fallback]
    FALLBACK_LAST_ACTION: _ClassVar[Fallback]
    FALLBACK_NEUTRAL: _ClassVar[Fallback]
    FALLBACK_CONTROLLER: _ClassVar[Fallback]

class Dtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DTYPE_UNSPECIFIED: _ClassVar[Dtype]
    DTYPE_FLOAT32: _ClassVar[Dtype]
    DTYPE_UINT8: _ClassVar[Dtype]

class ObservationKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OBSERVATION_KIND_UNSPECIFIED: _ClassVar[ObservationKind]
    OBSERVATION_KIND_VECTOR: _ClassVar[ObservationKind]
    OBSERVATION_KIND_IMAGE: _ClassVar[ObservationKind]
    OBSERVATION_KIND_ENTITIES: _ClassVar[ObservationKind]
    OBSERVATION_KIND_GOAL: _ClassVar[ObservationKind]

class Aggregation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGGREGATION_UNSPECIFIED: _ClassVar[Aggregation]
    AGGREGATION_MEAN: _ClassVar[Aggregation]
    AGGREGATION_LAST: _ClassVar[Aggregation]
    AGGREGATION_SUM: _ClassVar[Aggregation]
    AGGREGATION_HISTOGRAM: _ClassVar[Aggregation]

class StepType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STEP_TYPE_UNSPECIFIED: _ClassVar[StepType]
    STEP_TYPE_FIRST: _ClassVar[StepType]
    STEP_TYPE_MID: _ClassVar[StepType]
    STEP_TYPE_TERMINATED: _ClassVar[StepType]
    STEP_TYPE_TRUNCATED: _ClassVar[StepType]

class CloseReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLOSE_REASON_UNSPECIFIED: _ClassVar[CloseReason]
    CLOSE_REASON_COMPLETED: _ClassVar[CloseReason]
    CLOSE_REASON_STOPPED: _ClassVar[CloseReason]

class StepStanding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STEP_STANDING_UNSPECIFIED: _ClassVar[StepStanding]
    STEP_STANDING_NOT_HELD: _ClassVar[StepStanding]
    STEP_STANDING_HELD: _ClassVar[StepStanding]
    STEP_STANDING_ANSWERED: _ClassVar[StepStanding]
ROLE_UNSPECIFIED: Role
ROLE_EVALUATION: Role
FALLBACK_UNSPECIFIED: Fallback
FALLBACK_LAST_ACTION: Fallback
FALLBACK_NEUTRAL: Fallback
FALLBACK_CONTROLLER: Fallback
DTYPE_UNSPECIFIED: Dtype
DTYPE_FLOAT32: Dtype
DTYPE_UINT8: Dtype
OBSERVATION_KIND_UNSPECIFIED: ObservationKind
OBSERVATION_KIND_VECTOR: ObservationKind
OBSERVATION_KIND_IMAGE: ObservationKind
OBSERVATION_KIND_ENTITIES: ObservationKind
OBSERVATION_KIND_GOAL: ObservationKind
AGGREGATION_UNSPECIFIED: Aggregation
AGGREGATION_MEAN: Aggregation
AGGREGATION_LAST: Aggregation
AGGREGATION_SUM: Aggregation
AGGREGATION_HISTOGRAM: Aggregation
STEP_TYPE_UNSPECIFIED: StepType
STEP_TYPE_FIRST: StepType
STEP_TYPE_MID: StepType
STEP_TYPE_TERMINATED: StepType
STEP_TYPE_TRUNCATED: StepType
CLOSE_REASON_UNSPECIFIED: CloseReason
CLOSE_REASON_COMPLETED: CloseReason
CLOSE_REASON_STOPPED: CloseReason
STEP_STANDING_UNSPECIFIED: StepStanding
STEP_STANDING_NOT_HELD: StepStanding
STEP_STANDING_HELD: StepStanding
STEP_STANDING_ANSWERED: StepStanding

class ConnectRequest(_message.Message):
    __slots__ = ("hello", "step", "goodbye")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    step: Step
    goodbye: Goodbye
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., step: _Optional[_Union[Step, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("welcome", "act", "close", "refusal")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACT_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    act: Act
    close: Close
    refusal: Refusal
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., act: _Optional[_Union[Act, _Mapping]] = ..., close: _Optional[_Union[Close, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("min_version", "max_version", "simulator", "instance_id", "behaviours", "max_agents", "resume_session_id", "max_unanswered_steps", "role")
    MIN_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_VERSION_FIELD_NUMBER: _ClassVar[int]
    SIMULATOR_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOURS_FIELD_NUMBER: _ClassVar[int]
    MAX_AGENTS_FIELD_NUMBER: _ClassVar[int]
    RESUME_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_UNANSWERED_STEPS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    min_version: int
    max_version: int
    simulator: str
    instance_id: str
    behaviours: _containers.RepeatedCompositeFieldContainer[BehaviourSpec]
    max_agents: int
    resume_session_id: str
    max_unanswered_steps: int
    role: Role
    def __init__(self, min_version: _Optional[int] = ..., max_version: _Optional[int] = ..., simulator: _Optional[str] = ..., instance_id: _Optional[str] = ..., behaviours: _Optional[_Iterable[_Union[BehaviourSpec, _Mapping]]] = ..., max_agents: _Optional[int] = ..., resume_session_id: _Optional[str] = ..., max_unanswered_steps: _Optional[int] = ..., role: _Optional[_Union[Role, str]] = ...) -> None: ...

class BehaviourSpec(_message.Message):
    __slots__ = ("name", "observations", "action", "deadline_ms", "fallback")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    name: str
    observations: _containers.RepeatedCompositeFieldContainer[ObservationSpec]
    action: ActionSpec
    deadline_ms: int
    fallback: Fallback
    def __init__(self, name: _Optional[str] = ..., observations: _Optional[_Iterable[_Union[ObservationSpec, _Mapping]]] = ..., action: _Optional[_Union[ActionSpec, _Mapping]] = ..., deadline_ms: _Optional[int] = ..., fallback: _Optional[_Union[Fallback, str]] = ...) -> None: ...

class ObservationSpec(_message.Message):
    __slots__ = ("name", "shape", "dtype", "kind", "low", "high")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    name: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: Dtype
    kind: ObservationKind
    low: _containers.RepeatedScalarFieldContainer[float]
    high: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[_Union[Dtype, str]] = ..., kind: _Optional[_Union[ObservationKind, str]] = ..., low: _Optional[_Iterable[float]] = ..., high: _Optional[_Iterable[float]] = ...) -> None: ...

class ActionSpec(_message.Message):
    __slots__ = ("low", "high", "branches")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    low: _containers.RepeatedScalarFieldContainer[float]
    high: _containers.RepeatedScalarFieldContainer[float]
    branches: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, low: _Optional[_Iterable[float]] = ..., high: _Optional[_Iterable[float]] = ..., branches: _Optional[_Iterable[int]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("version", "session_id", "run_id", "seed", "environment_parameters", "max_unanswered_steps", "resumed", "grace_s", "max_message_bytes", "revision")
    class EnvironmentParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    MAX_UNANSWERED_STEPS_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    GRACE_S_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    version: int
    session_id: str
    run_id: str
    seed: int
    environment_parameters: _containers.ScalarMap[str, float]
    max_unanswered_steps: int
    resumed: bool
    grace_s: float
    max_message_bytes: int
    revision: int
    def __init__(self, version: _Optional[int] = ..., session_id: _Optional[str] = ..., run_id: _Optional[str] = ..., seed: _Optional[int] = ..., environment_parameters: _Optional[_Mapping[str, float]] = ..., max_unanswered_steps: _Optional[int] = ..., resumed: bool = ..., grace_s: _Optional[float] = ..., max_message_bytes: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("sequence", "behaviours", "new_behaviours", "statistics")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOURS_FIELD_NUMBER: _ClassVar[int]
    NEW_BEHAVIOURS_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    behaviours: _containers.RepeatedCompositeFieldContainer[BehaviourStep]
    new_behaviours: _containers.RepeatedCompositeFieldContainer[BehaviourSpec]
    statistics: _containers.RepeatedCompositeFieldContainer[Statistic]
    def __init__(self, sequence: _Optional[int] = ..., behaviours: _Optional[_Iterable[_Union[BehaviourStep, _Mapping]]] = ..., new_behaviours: _Optional[_Iterable[_Union[BehaviourSpec, _Mapping]]] = ..., statistics: _Optional[_Iterable[_Union[Statistic, _Mapping]]] = ...) -> None: ...

class Statistic(_message.Message):
    __slots__ = ("name", "aggregation", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AGGREGATION_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    aggregation: Aggregation
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., aggregation: _Optional[_Union[Aggregation, str]] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class BehaviourStep(_message.Message):
    __slots__ = ("behaviour", "agent_id", "step_type", "reward", "observations", "action_mask", "group_id", "group_reward", "late")
    BEHAVIOUR_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_TYPE_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    ACTION_MASK_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_REWARD_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    behaviour: str
    agent_id: bytes
    step_type: bytes
    reward: bytes
    observations: _containers.RepeatedScalarFieldContainer[bytes]
    action_mask: bytes
    group_id: bytes
    group_reward: bytes
    late: bytes
    def __init__(self, behaviour: _Optional[str] = ..., agent_id: _Optional[bytes] = ..., step_type: _Optional[bytes] = ..., reward: _Optional[bytes] = ..., observations: _Optional[_Iterable[bytes]] = ..., action_mask: _Optional[bytes] = ..., group_id: _Optional[bytes] = ..., group_reward: _Optional[bytes] = ..., late: _Optional[bytes] = ...) -> None: ...

class Act(_message.Message):
    __slots__ = ("sequence", "behaviours", "changed_environment_parameters")
    class ChangedEnvironmentParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOURS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_ENVIRONMENT_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    behaviours: _containers.RepeatedCompositeFieldContainer[BehaviourAct]
    changed_environment_parameters: _containers.ScalarMap[str, float]
    def __init__(self, sequence: _Optional[int] = ..., behaviours: _Optional[_Iterable[_Union[BehaviourAct, _Mapping]]] = ..., changed_environment_parameters: _Optional[_Mapping[str, float]] = ...) -> None: ...

class BehaviourAct(_message.Message):
    __slots__ = ("behaviour", "continuous", "discrete", "policy_version")
    BEHAVIOUR_FIELD_NUMBER: _ClassVar[int]
    CONTINUOUS_FIELD_NUMBER: _ClassVar[int]
    DISCRETE_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    behaviour: str
    continuous: bytes
    discrete: bytes
    policy_version: int
    def __init__(self, behaviour: _Optional[str] = ..., continuous: _Optional[bytes] = ..., discrete: _Optional[bytes] = ..., policy_version: _Optional[int] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Close(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: CloseReason
    message: str
    def __init__(self, reason: _Optional[_Union[CloseReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class InquireRequest(_message.Message):
    __slots__ = ("session_id", "instance_id", "sequence")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    instance_id: str
    sequence: int
    def __init__(self, session_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class InquireResponse(_message.Message):
    __slots__ = ("standing",)
    STANDING_FIELD_NUMBER: _ClassVar[int]
    standing: StepStanding
    def __init__(self, standing: _Optional[_Union[StepStanding, str]] = ...) -> None: ...
