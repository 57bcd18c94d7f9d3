# The rows of one behaviour in one Step, as the packed arrays that the wire wants.

const Checks = preload("checks.gd")
const Messages = preload("messages.gd")
const Platform = preload("../platform.gd")
const Spaces = preload("spaces.gd")

# The agents whose rows need an action, in the order of their rows.
var acting = []
# What is wrong with a row that was added; "" if nothing.
var problem = ""

var _spec
var _agent_id = StreamPeerBuffer.new()
var _step_type = StreamPeerBuffer.new()
var _reward = StreamPeerBuffer.new()
var _observations = []
var _masks = []
var _has_mask = false
var _late = StreamPeerBuffer.new()
var _is_any_late = false


func _init(spec):
	_spec = spec
	for _each in spec["observations"]:
		_observations.append(StreamPeerBuffer.new())


# A row: its agent, its StepType in "type", what the agent saw in "seen" (obs, mask, reward), and
# whether a fallback led to it in "late".
func add(row):
	var agent = row["agent"]
	var step_type = row["type"]
	var seen = row["seen"]
	_agent_id.put_64(agent.id)
	_step_type.put_u8(step_type)
	_reward.put_float(0.0 if step_type == Messages.FIRST else seen["reward"])
	for index in range(_observations.size()):
		_add_observation(agent, index, seen["obs"])
	var wrong = Checks.problem_of_mask(_spec, seen["mask"])
	if wrong != "":
		problem = agent.name + ": " + wrong
	var mask = Spaces.mask_of(_spec, seen["mask"])
	_masks.append(mask)
	_has_mask = _has_mask or mask.size() > 0
	_late.put_u8(1 if row["late"] else 0)
	_is_any_late = _is_any_late or row["late"]
	if step_type == Messages.FIRST or step_type == Messages.MID:
		acting.append(agent)


# The fields of a BehaviourStep.
func said():
	var arrays = []
	for buffer in _observations:
		arrays.append(buffer.data_array)
	return {
		"behaviour": _spec["name"],
		"agent_id": _agent_id.data_array,
		"step_type": _step_type.data_array,
		"reward": _reward.data_array,
		"observations": arrays,
		"action_mask": _mask_bytes(),
		"late": _late.data_array if _is_any_late else StreamPeerBuffer.new().data_array,
	}


func _add_observation(agent, index, observed):
	var described = _spec["observations"][index]
	var name = described["name"]
	var values = observed.get(name, [])
	var expected = Spaces.count_of(described)
	if typeof(values) == TYPE_STRING or values.size() != expected:
		var words = "%s: get_obs gives '%s' %s numbers or bytes, and get_obs_space says %d"
		var arrived = "a text instead of" if typeof(values) == TYPE_STRING else str(values.size())
		problem = words % [agent.name, name, arrived, expected]
	elif Platform.is_bytes(values):
		_observations[index].put_data(values)
	elif described["dtype"] == Spaces.UINT8:
		for value in values:
			_observations[index].put_u8(int(value))
	else:
		for value in values:
			_observations[index].put_float(value)


func _mask_bytes():
	var buffer = StreamPeerBuffer.new()
	if not _has_mask:
		return buffer.data_array
	var choices = 0
	for count in _spec["action"]["branches"]:
		choices += count
	for mask in _masks:
		for choice in range(choices):
			buffer.put_u8(1 if mask.size() == 0 or mask[choice] else 0)
	return buffer.data_array
