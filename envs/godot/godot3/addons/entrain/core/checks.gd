# What is wrong with what a game's agents say of themselves, in words for people; "" if nothing.

const Spaces = preload("spaces.gd")

# A day: whoever waits longer has no deadline.
const LONGEST_DEADLINE_MS = 86400000


# name: of the agent, for the words. node: an EntrainAgent, before it is described.
static func problem_of(name, node):
	var problem = _of_observations(node.get_obs())
	if problem == "":
		problem = _of_actions(node.get_action_space())
	if problem == "":
		problem = _of_deadline(node)
	return "" if problem == "" else name + ": " + problem


# Of a mask that an agent of this spec gives.
static func problem_of_mask(spec, by_name):
	var sizes = {}
	for part in spec["parts"]:
		if part["is_discrete"]:
			sizes[part["name"]] = part["size"]
	for name in by_name:
		if not sizes.has(name):
			return "get_action_mask gives '%s', which is no discrete action" % name
		if by_name[name].size() != sizes[name]:
			var words = "get_action_mask gives '%s' %d values, and get_action_space says %d choices"
			return words % [name, by_name[name].size(), sizes[name]]
	return ""


static func _of_observations(observed):
	if typeof(observed) != TYPE_DICTIONARY or observed.size() == 0:
		return "get_obs gives no dictionary; expected {name: numbers}"
	for name in observed:
		# Arrays, and those of one type, are the last types of all.
		if typeof(observed[name]) < TYPE_ARRAY:
			return "get_obs gives '%s' no array; expected one, such as [x]" % name
		if observed[name].size() == 0:
			return "get_obs gives '%s' an empty array; expected numbers" % name
	return ""


static func _of_actions(actions):
	if typeof(actions) != TYPE_DICTIONARY or actions.size() == 0:
		return "get_action_space gives no action; expected {name: what it is}"
	for name in actions:
		var kind = str(actions[name].get("action_type", "none"))
		if not kind in ["continuous", "discrete"]:
			var words = "get_action_space gives '%s' the action_type '%s'; expected continuous or discrete"
			return words % [name, kind]
		if int(actions[name].get("size", 0)) < 1:
			return "get_action_space gives '%s' no size; expected 1 or more" % name
	return ""


static func _of_deadline(node):
	if node.deadline_ms < 0 or node.deadline_ms > LONGEST_DEADLINE_MS:
		return "deadline_ms is %d; expected 0 (as long as it takes) to a day" % node.deadline_ms
	if node.deadline_ms > 0 and not Spaces.FALLBACKS.has(node.fallback):
		return "fallback is '%s'; expected last, neutral or controller" % node.fallback
	return ""
