from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Message(_message.Message):
    __slots__ = ("header", "unity_output", "unity_input")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    UNITY_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    UNITY_INPUT_FIELD_NUMBER: _ClassVar[int]
    header: Header
    unity_output: Output
    unity_input: Input
    def __init__(self, header: _Optional[_Union[Header, _Mapping]] = ..., unity_output: _Optional[_Union[Output, _Mapping]] = ..., unity_input: _Optional[_Union[Input, _Mapping]] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("status", "message")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    status: int
    message: str
    def __init__(self, status: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("rl_output", "rl_initialization_output")
    RL_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    RL_INITIALIZATION_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    rl_output: RecordsOutput
    rl_initialization_output: InitializationOutput
    def __init__(self, rl_output: _Optional[_Union[RecordsOutput, _Mapping]] = ..., rl_initialization_output: _Optional[_Union[InitializationOutput, _Mapping]] = ...) -> None: ...

class Input(_message.Message):
    __slots__ = ("rl_input", "rl_initialization_input")
    RL_INPUT_FIELD_NUMBER: _ClassVar[int]
    RL_INITIALIZATION_INPUT_FIELD_NUMBER: _ClassVar[int]
    rl_input: ActionsInput
    rl_initialization_input: InitializationInput
    def __init__(self, rl_input: _Optional[_Union[ActionsInput, _Mapping]] = ..., rl_initialization_input: _Optional[_Union[InitializationInput, _Mapping]] = ...) -> None: ...

class InitializationOutput(_message.Message):
    __slots__ = ("name", "communication_version", "brain_parameters", "package_version", "capabilities")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMUNICATION_VERSION_FIELD_NUMBER: _ClassVar[int]
    BRAIN_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    name: str
    communication_version: str
    brain_parameters: _containers.RepeatedCompositeFieldContainer[BrainParameters]
    package_version: str
    capabilities: Capabilities
    def __init__(self, name: _Optional[str] = ..., communication_version: _Optional[str] = ..., brain_parameters: _Optional[_Iterable[_Union[BrainParameters, _Mapping]]] = ..., package_version: _Optional[str] = ..., capabilities: _Optional[_Union[Capabilities, _Mapping]] = ...) -> None: ...

class InitializationInput(_message.Message):
    __slots__ = ("seed", "communication_version", "package_version", "capabilities", "num_areas")
    SEED_FIELD_NUMBER: _ClassVar[int]
    COMMUNICATION_VERSION_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    NUM_AREAS_FIELD_NUMBER: _ClassVar[int]
    seed: int
    communication_version: str
    package_version: str
    capabilities: Capabilities
    num_areas: int
    def __init__(self, seed: _Optional[int] = ..., communication_version: _Optional[str] = ..., package_version: _Optional[str] = ..., capabilities: _Optional[_Union[Capabilities, _Mapping]] = ..., num_areas: _Optional[int] = ...) -> None: ...

class Capabilities(_message.Message):
    __slots__ = ("base", "concatenated_png", "channel_mapping", "hybrid_actions", "training_analytics", "variable_length", "groups")
    BASE_FIELD_NUMBER: _ClassVar[int]
    CONCATENATED_PNG_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_MAPPING_FIELD_NUMBER: _ClassVar[int]
    HYBRID_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_ANALYTICS_FIELD_NUMBER: _ClassVar[int]
    VARIABLE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    base: bool
    concatenated_png: bool
    channel_mapping: bool
    hybrid_actions: bool
    training_analytics: bool
    variable_length: bool
    groups: bool
    def __init__(self, base: bool = ..., concatenated_png: bool = ..., channel_mapping: bool = ..., hybrid_actions: bool = ..., training_analytics: bool = ..., variable_length: bool = ..., groups: bool = ...) -> None: ...

class BrainParameters(_message.Message):
    __slots__ = ("deprecated_size", "deprecated_space_type", "brain_name", "action_spec")
    DEPRECATED_SIZE_FIELD_NUMBER: _ClassVar[int]
    DEPRECATED_SPACE_TYPE_FIELD_NUMBER: _ClassVar[int]
    BRAIN_NAME_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPEC_FIELD_NUMBER: _ClassVar[int]
    deprecated_size: _containers.RepeatedScalarFieldContainer[int]
    deprecated_space_type: int
    brain_name: str
    action_spec: ActionSpec
    def __init__(self, deprecated_size: _Optional[_Iterable[int]] = ..., deprecated_space_type: _Optional[int] = ..., brain_name: _Optional[str] = ..., action_spec: _Optional[_Union[ActionSpec, _Mapping]] = ...) -> None: ...

class ActionSpec(_message.Message):
    __slots__ = ("num_continuous", "num_discrete", "branches")
    NUM_CONTINUOUS_FIELD_NUMBER: _ClassVar[int]
    NUM_DISCRETE_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    num_continuous: int
    num_discrete: int
    branches: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, num_continuous: _Optional[int] = ..., num_discrete: _Optional[int] = ..., branches: _Optional[_Iterable[int]] = ...) -> None: ...

class RecordsOutput(_message.Message):
    __slots__ = ("agents", "side_channel")
    class AgentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Records
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Records, _Mapping]] = ...) -> None: ...
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    SIDE_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.MessageMap[str, Records]
    side_channel: bytes
    def __init__(self, agents: _Optional[_Mapping[str, Records]] = ..., side_channel: _Optional[bytes] = ...) -> None: ...

class Records(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: _containers.RepeatedCompositeFieldContainer[Record]
    def __init__(self, value: _Optional[_Iterable[_Union[Record, _Mapping]]] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("reward", "done", "max_step_reached", "id", "action_mask", "observations", "group_id", "group_reward")
    REWARD_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    MAX_STEP_REACHED_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_MASK_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_REWARD_FIELD_NUMBER: _ClassVar[int]
    reward: float
    done: bool
    max_step_reached: bool
    id: int
    action_mask: bytes
    observations: _containers.RepeatedScalarFieldContainer[bytes]
    group_id: int
    group_reward: float
    def __init__(self, reward: _Optional[float] = ..., done: bool = ..., max_step_reached: bool = ..., id: _Optional[int] = ..., action_mask: _Optional[bytes] = ..., observations: _Optional[_Iterable[bytes]] = ..., group_id: _Optional[int] = ..., group_reward: _Optional[float] = ...) -> None: ...

class Observation(_message.Message):
    __slots__ = ("shape", "compression_type", "compressed_data", "float_data", "compressed_channel_mapping", "dimension_properties", "observation_type", "name")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_TYPE_FIELD_NUMBER: _ClassVar[int]
    COMPRESSED_DATA_FIELD_NUMBER: _ClassVar[int]
    FLOAT_DATA_FIELD_NUMBER: _ClassVar[int]
    COMPRESSED_CHANNEL_MAPPING_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    shape: bytes
    compression_type: int
    compressed_data: bytes
    float_data: Floats
    compressed_channel_mapping: bytes
    dimension_properties: bytes
    observation_type: int
    name: str
    def __init__(self, shape: _Optional[bytes] = ..., compression_type: _Optional[int] = ..., compressed_data: _Optional[bytes] = ..., float_data: _Optional[_Union[Floats, _Mapping]] = ..., compressed_channel_mapping: _Optional[bytes] = ..., dimension_properties: _Optional[bytes] = ..., observation_type: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class Floats(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class ActionsInput(_message.Message):
    __slots__ = ("actions", "command", "side_channel")
    class ActionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Actions
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Actions, _Mapping]] = ...) -> None: ...
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    SIDE_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    actions: _containers.MessageMap[str, Actions]
    command: int
    side_channel: bytes
    def __init__(self, actions: _Optional[_Mapping[str, Actions]] = ..., command: _Optional[int] = ..., side_channel: _Optional[bytes] = ...) -> None: ...

class Actions(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: _containers.RepeatedCompositeFieldContainer[Action]
    def __init__(self, value: _Optional[_Iterable[_Union[Action, _Mapping]]] = ...) -> None: ...

class Action(_message.Message):
    __slots__ = ("deprecated", "continuous", "discrete")
    DEPRECATED_FIELD_NUMBER: _ClassVar[int]
    CONTINUOUS_FIELD_NUMBER: _ClassVar[int]
    DISCRETE_FIELD_NUMBER: _ClassVar[int]
    deprecated: bytes
    continuous: bytes
    discrete: bytes
    def __init__(self, deprecated: _Optional[bytes] = ..., continuous: _Optional[bytes] = ..., discrete: _Optional[bytes] = ...) -> None: ...
