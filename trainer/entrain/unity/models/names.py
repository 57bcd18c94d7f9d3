"""Names of a model's inputs and outputs in ML-Agents, and the constants that a game reads.

The C# side finds everything by these names. Its version 3 means: observations are `obs_0`, `obs_1`
and so on in the order of the sensors, and memory is an input and an output like any other.
"""

VERSION = 3
"""Of these names and their meaning. Games accept 2 and 3."""

OPSET = 9
"""Of ONNX. Barracuda, in games with package 2.x, reads no newer one; Sentis reads 7 to 15."""

IR_VERSION = 4
"""Of the file's format; from this version on, initializers need not be inputs too."""

VERSION_NUMBER = "version_number"
MEMORY_SIZE = "memory_size"

CONTINUOUS = "continuous_actions"
CONTINUOUS_SHAPE = "continuous_action_output_shape"
DETERMINISTIC_CONTINUOUS = "deterministic_continuous_actions"

DISCRETE = "discrete_actions"
DISCRETE_SHAPE = "discrete_action_output_shape"
DETERMINISTIC_DISCRETE = "deterministic_discrete_actions"

MASKS = "action_masks"
MEMORY_IN = "recurrent_in"
MEMORY_OUT = "recurrent_out"


def observation_name(index: int) -> str:
    """The input of the observation that is sensor number `index`."""
    return f"obs_{index}"
