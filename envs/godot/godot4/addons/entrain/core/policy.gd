# Evaluates a trained policy: a file of `entrain export RUN --format json`, whose words it uses.

const Spaces = preload("spaces.gd")

const FORMAT = "entrain-policy-1"
const INPUTS = ["observations", "sizes", "shift", "scale", "clip"]
const OUTPUTS = ["activation", "layers", "head", "continuous", "branches"]

var _policy


# policy: the parsed file.
func _init(policy):
	_policy = policy


# Whether a parsed file is a policy.
static func is_one(parsed):
	if typeof(parsed) != TYPE_DICTIONARY or parsed.get("format") != FORMAT:
		return false
	return parsed.has_all(INPUTS + OUTPUTS)


# Why it cannot act for agents of this spec; "" if it can.
func problem_of(spec):
	var counts = {}
	for observation in spec["observations"]:
		counts[observation["name"]] = Spaces.count_of(observation)
	var index = 0
	for name in _policy["observations"]:
		var needed = int(_policy["sizes"][index])
		var given = counts.get(name, 0)
		if needed != given:
			var words = "it reads %d numbers of the observation '%s', and the game's '%s' gives %d"
			return words % [needed, name, spec["name"], given]
		index += 1
	var branches = []
	for count in _policy["branches"]:
		branches.append(int(count))
	var action = spec["action"]
	var numbers = [_policy["continuous"].size(), action["low"].size()]
	if numbers[0] != numbers[1] or branches != action["branches"]:
		var words = "it has %d numbers and the choices %s as actions, and the game's '%s' %d and %s"
		return words % [numbers[0], branches, spec["name"], numbers[1], action["branches"]]
	return ""


# The likeliest action. observation: {name: numbers}; mask: a bool for each choice, or empty.
func act(observation, mask = []):
	var hidden = _features(observation)
	for layer in _policy["layers"]:
		hidden = _activated(_affine(layer, hidden))
	var outputs = _affine(_policy["head"], hidden)
	var continuous = []
	for dimension in _policy["continuous"]:
		var value = outputs[continuous.size()]
		value = (tanh(value) if dimension["squashed"] else value) / dimension["unit"]
		value = dimension["center"] + dimension["half_range"] * value
		continuous.append(clamp(value, _or(dimension["low"], -INF), _or(dimension["high"], INF)))
	return {"continuous": continuous, "discrete": _choices(outputs, continuous.size(), mask)}


func _features(observation):
	var features = []
	var clip = _or(_policy["clip"], INF)
	for name in _policy["observations"]:
		for value in observation[name]:
			var at = features.size()
			value = (value - _policy["shift"][at]) * _policy["scale"][at]
			features.append(clamp(value, -clip, clip))
	return features


func _affine(layer, inputs):
	var outputs = []
	for row in layer["weight"]:
		var total = layer["bias"][outputs.size()]
		for index in range(inputs.size()):
			total += row[index] * inputs[index]
		outputs.append(total)
	return outputs


func _activated(x):
	for i in range(x.size()):
		match _policy["activation"]:
			"tanh":
				x[i] = tanh(x[i])
			"relu":
				x[i] = max(x[i], 0.0)
			"elu":
				x[i] = x[i] if x[i] > 0.0 else exp(x[i]) - 1.0
			"silu":
				x[i] = x[i] / (1.0 + exp(-x[i]))
	return x


# The allowed choice with the largest output, of each branch.
func _choices(outputs, begin, mask):
	var choices = []
	var first = begin
	for count in _policy["branches"]:
		var best = -1
		for choice in range(int(count)):
			var is_allowed = mask.size() == 0 or mask[first - begin + choice]
			if is_allowed and (best < 0 or outputs[first + choice] > outputs[first + best]):
				best = choice
		choices.append(best)
		first += int(count)
	return choices


func _or(bound, other):
	return other if bound == null else bound
