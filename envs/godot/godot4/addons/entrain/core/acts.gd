# Whether a trainer's actions fit the rows that they answer.

const NOTHING = {"continuous": [], "discrete": []}


# An Act's actions of a behaviour; none where it has none.
static func part_of(act, name):
	for part in act["behaviours"]:
		if part["behaviour"] == name:
			return part
	return NOTHING


# What is wrong with the actions for so many rows of a behaviour; "" if nothing.
static func problem_of(spec, rows, actions):
	var branches = spec["action"]["branches"]
	var numbers = rows * spec["action"]["low"].size()
	var choices = rows * branches.size()
	if actions["continuous"].size() != numbers or actions["discrete"].size() != choices:
		var sizes = [actions["continuous"].size(), actions["discrete"].size(), numbers, choices]
		return (
			"the trainer's actions for '%s' are %d numbers and %d choices; expected %d and %d"
			% ([spec["name"]] + sizes)
		)
	for number in actions["continuous"]:
		if is_nan(number) or is_inf(number):
			return "the trainer's action for '%s' is %s; expected a finite number" % [spec["name"], number]
	for index in range(choices):
		var choice = actions["discrete"][index]
		var count = branches[index % branches.size()]
		if choice < 0 or choice >= count:
			var words = "the trainer's choice for '%s' is %d; expected 0 to %d"
			return words % [spec["name"], choice, count - 1]
	return ""
