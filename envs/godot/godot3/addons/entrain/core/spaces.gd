# What an agent's get_obs_space and get_action_space mean as a BehaviourSpec, and its actions back.
#
#     get_obs_space()     {"obs": {"size": [4], "space": "box"}}
#     get_action_space()  {"move": {"size": 2, "action_type": "continuous"},
#                          "jump": {"size": 3, "action_type": "discrete"}}

const Platform = preload("../platform.gd")

const FLOAT32 = 1
const UINT8 = 2
const FALLBACKS = {"last": 1, "neutral": 2, "controller": 3}
const KINDS = {"": 0, "vector": 1, "image": 2, "entities": 3, "goal": 4}


# The spec of an agent, with "parts" beside it: which numbers of its actions have which name.
static func describe(name, agent):
	var observed = agent.get_obs()
	var observations = []
	var spaces = agent.get_obs_space()
	for each in spaces:
		observations.append(_observation(each, spaces[each], observed.get(each)))
	var action = {"low": [], "high": [], "branches": []}
	var parts = []
	var actions = agent.get_action_space()
	for each in actions:
		parts.append(_part(each, actions[each], action))
	var spec = {"name": name, "observations": observations, "action": action, "parts": parts}
	spec["deadline_ms"] = agent.deadline_ms
	spec["fallback"] = FALLBACKS.get(agent.fallback, 0) if agent.deadline_ms > 0 else 0
	return spec


# How many numbers one row of an observation has.
static func count_of(observation):
	var count = 1
	for size in observation["shape"]:
		count *= size
	return count


# One agent's actions by name, from its row of an Act: what set_action is given.
static func action_of(spec, continuous, discrete, row):
	var from_number = row * spec["action"]["low"].size()
	var from_branch = row * spec["action"]["branches"].size()
	var action = {}
	for part in spec["parts"]:
		if part["is_discrete"]:
			action[part["name"]] = discrete[from_branch]
			from_branch += 1
		else:
			var numbers = []
			for _each in range(part["size"]):
				numbers.append(continuous[from_number])
				from_number += 1
			action[part["name"]] = numbers
	return action


# Which choices are allowed, a bool for each choice of all branches; empty: all of them.
static func mask_of(spec, by_name):
	var mask = []
	if by_name.size() == 0:
		return mask
	for part in spec["parts"]:
		if part["is_discrete"]:
			var allowed = by_name.get(part["name"], [])
			for choice in range(part["size"]):
				mask.append(choice >= allowed.size() or bool(allowed[choice]))
	return mask


static func _observation(name, space, value):
	var size = space["size"]
	var shape = []
	for each in size if typeof(size) == TYPE_ARRAY else [size]:
		shape.append(int(each))
	var is_bytes = space.get("dtype", "") == "uint8" or Platform.is_bytes(value)
	return {
		"name": name,
		"shape": shape,
		"dtype": UINT8 if is_bytes else FLOAT32,
		"kind": KINDS.get(space.get("kind", ""), 0),
		"low": space.get("low", []),
		"high": space.get("high", []),
	}


static func _part(name, space, action):
	var size = int(space["size"])
	var is_discrete = space["action_type"] == "discrete"
	if is_discrete:
		action["branches"].append(size)
	else:
		for index in range(size):
			action["low"].append(_bound(space.get("low", -1.0), index))
			action["high"].append(_bound(space.get("high", 1.0), index))
	return {"name": name, "is_discrete": is_discrete, "size": size}


static func _bound(bounds, index):
	return float(bounds[index] if typeof(bounds) == TYPE_ARRAY else bounds)
