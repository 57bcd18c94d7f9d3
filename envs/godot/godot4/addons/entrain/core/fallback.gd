# What acts where the trainer's actions came too late: the last action again, or a neutral one.

const Messages = preload("messages.gd")
const Spaces = preload("spaces.gd")

const LAST = 1
const CONTROLLER = 3


# The action for a row, as set_action is given it.
# last: the action that the agent took last in its episode, never one that came too late: such an
# action decides nothing, so that it need not be learned from. Null if there is none.
static func action_for(spec, row, last):
	var mask = Spaces.mask_of(spec, row["seen"]["mask"])
	var action = neutral(spec, mask)
	if spec["fallback"] != LAST or last == null or row["type"] == Messages.FIRST:
		return action
	var first = 0
	for part in spec["parts"]:
		var name = part["name"]
		if not part["is_discrete"]:
			action[name] = last[name]
			continue
		if mask.size() == 0 or mask[first + last[name]]:
			action[name] = last[name]
		first += part["size"]
	return action


# Zero, or what is nearest to it within the bounds; of each branch the first allowed choice.
static func neutral(spec, mask):
	var numbers = []
	for index in range(spec["action"]["low"].size()):
		numbers.append(clamp(0.0, spec["action"]["low"][index], spec["action"]["high"][index]))
	var choices = []
	var first = 0
	for count in spec["action"]["branches"]:
		var choice = 0
		while mask.size() > 0 and choice < count - 1 and not mask[first + choice]:
			choice += 1
		choices.append(choice)
		first += count
	return Spaces.action_of(spec, numbers, choices, 0)
