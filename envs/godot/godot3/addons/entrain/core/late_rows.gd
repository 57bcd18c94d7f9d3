# Rows of a game that did not wait: those of several decisions become one for each agent.
#
# The trainer gave each agent an action, which came too late; a fallback acted, perhaps several
# times. What the trainer is told in the end is one outcome of its action, with the rewards of all
# of them, and the newest observation. If the episode ended, its end is that outcome, and the next
# one begins, for the trainer, with the newest observation.

const Messages = preload("messages.gd")


# The same rows as at most an end and a beginning of each agent, late where they are outcomes.
# rows: {"agent", "type", "seen"} each, an agent's in the order of time. May be merged rows, too.
static func merged(rows):
	var by_agent = {}
	for row in rows:
		var id = row["agent"].id
		if not by_agent.has(id):
			by_agent[id] = []
		by_agent[id].append(row)
	var kept = []
	for id in by_agent:
		kept += _merged_of_agent(by_agent[id])
	return kept


static func _merged_of_agent(rows):
	# The life in which the trainer has given an action: until its end, if it did not begin here.
	var is_known = rows[0]["type"] != Messages.FIRST
	var reward = 0.0
	var kept = []
	for index in range(rows.size()):
		var row = rows[index]
		var is_end = row["type"] > Messages.MID
		if is_known:
			reward += row["seen"]["reward"]
		if (is_end and is_known) or (not is_end and index == rows.size() - 1):
			var type = row["type"] if is_known else Messages.FIRST
			kept.append(_row(row, type, reward if is_known else 0.0, is_known))
		if is_end:
			is_known = false
	return kept


static func _row(row, type, reward, is_late):
	var seen = row["seen"].duplicate()
	seen["reward"] = reward
	return {"agent": row["agent"], "type": type, "seen": seen, "late": is_late}
