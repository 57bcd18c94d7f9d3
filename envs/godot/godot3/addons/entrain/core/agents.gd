# All agents of the game: whose episode begins, goes on or ended, and what each saw at its end.
#
# An agent's row is taken when its episode ends, so that it holds the true final observation,
# however many ticks later it is sent. Knows no trainer.

const Acts = preload("acts.gd")
const Checks = preload("checks.gd")
const Fallback = preload("fallback.gd")
const LateRows = preload("late_rows.gd")
const Messages = preload("messages.gd")
const Rows = preload("rows.gd")
const Spaces = preload("spaces.gd")

# {policy name: spec} of all kinds of agents so far, and the same in the order of their coming.
var specs = {}
var behaviours = []
# Something that the game must change; "" if nothing.
var problem = ""

var _agents = []
# Rows of the newest decision, and those that are not sent yet.
var _newest = []
var _waiting = []
# {behaviour: agents} whose rows were sent and need an action.
var _acting = {}
var _next_id = 1
# How many of the behaviours a Hello or a Step has named.
var _declared = 0


# One agent's place among all of them; the node calls it back when it ends or leaves.
class Agent:
	var id
	var name
	var behaviour
	var node
	var is_new = true
	# The action that it took last in its episode, if its fallback wants to know; else null.
	var last = null
	# What it saw when its episode ended, with its StepType in "type"; null while it goes on.
	var end = null

	func seen():
		return {"obs": node.get_obs(), "mask": node.get_action_mask(), "reward": node.get_reward()}

	func end_episode(step_type):
		if end == null and node != null:
			end = seen()
			end["type"] = step_type

	# The node leaves the scene: what it does there no longer counts.
	func leave():
		end_episode(Messages.TRUNCATED)
		node = null

	func begin():
		node.n_steps = 0
		node.set_done_false()
		node.zero_reward()
		node.reset()
		# What the game's own reset may have set.
		node.set_done_false()
		node.zero_reward()
		is_new = false
		end = null


# Take in the nodes that are new.
func refresh(nodes):
	for node in nodes:
		if node.entrain_agent == null:
			_add(node)


# Once in each physics tick: notice ends, and time limits.
func tick():
	for agent in _agents:
		if agent.node == null or agent.end != null or agent.is_new:
			continue
		agent.node.n_steps += 1
		if agent.node.get_done():
			agent.end_episode(Messages.TERMINATED)
		elif 0 < agent.node.reset_after and agent.node.reset_after <= agent.node.n_steps:
			agent.end_episode(Messages.TRUNCATED)


# A decision is due: keep what became of all actions, and the first rows of new episodes.
# is_late: a fallback has acted, and what it led to is added to what waits.
func collect(is_late):
	_newest = []
	for agent in _agents:
		if agent.end != null and not agent.is_new:
			_add_row(agent, agent.end["type"], agent.end)
		elif agent.node != null and not agent.is_new:
			_add_row(agent, Messages.MID, agent.seen())
			agent.node.zero_reward()
	for agent in begin_due():
		_add_row(agent, Messages.FIRST, agent.seen())
	_waiting = LateRows.merged(_waiting + _newest) if is_late else _newest


# The fields of a Step with the rows that wait.
func said():
	var rows = {}
	for row in _waiting:
		_rows_of(rows, row["agent"]).add(row)
	_waiting = []
	return _said(rows)


# Begin the episodes that are due; the agents that begin one.
func begin_due():
	var staying = []
	var beginning = []
	for agent in _agents:
		if agent.node != null:
			staying.append(agent)
			if agent.is_new or agent.end != null:
				beginning.append(agent)
	_agents = staying
	for agent in beginning:
		agent.begin()
	return beginning


# Give each agent its action of an Act. What is wrong with the Act; "" if nothing.
func act(answer):
	for name in _acting:
		var acting = _acting[name]
		var spec = specs[name]
		var actions = Acts.part_of(answer, name)
		var wrong = Acts.problem_of(spec, acting.size(), actions)
		if wrong != "":
			return wrong
		for row in range(acting.size()):
			_give(
				acting[row],
				spec,
				Spaces.action_of(spec, actions["continuous"], actions["discrete"], row)
			)
	return ""


# How long actions are waited for: the shortest deadline of all, for one Act answers them together;
# 0: as long as it takes.
func deadline_ms():
	var shortest = 0
	for spec in behaviours:
		if spec["deadline_ms"] > 0 and (shortest == 0 or spec["deadline_ms"] < shortest):
			shortest = spec["deadline_ms"]
	return shortest


# The time is over: the fallback acts.
func fall_back():
	for row in _newest:
		var agent = row["agent"]
		if row["type"] > Messages.MID or agent.node == null:
			continue
		var spec = specs[agent.behaviour]
		if spec["fallback"] == Fallback.CONTROLLER:
			_give(agent, spec, agent.node.control())
		else:
			_give(agent, spec, Fallback.action_for(spec, row, agent.last))


# Let `chooser` choose for each agent: given its behaviour and what it saw, it returns an action; an
# empty one changes nothing.
func act_by(chooser):
	for agent in _agents:
		if agent.node != null:
			var action = chooser.choose(specs[agent.behaviour], agent.seen())
			if action.size() > 0:
				agent.node.set_action(action)
			agent.node.zero_reward()


# The trainer does not know us any more: all begin anew.
# declared: how many of the behaviours the Hello named. Others may have come since.
func forget(declared):
	_acting = {}
	_newest = []
	_waiting = []
	_declared = declared
	for agent in _agents:
		agent.is_new = true


func set_heuristic(heuristic):
	for agent in _agents:
		if agent.node != null:
			agent.node.set_heuristic(heuristic)


func _add(node):
	var agent = Agent.new()
	agent.id = _next_id
	_next_id += 1
	agent.name = str(node.get_path())
	agent.behaviour = node.policy_name
	agent.node = node
	node.entrain_agent = agent
	var wrong = Checks.problem_of(agent.name, node)
	if wrong != "":
		problem = wrong
		return
	_agents.append(agent)
	if not specs.has(agent.behaviour):
		specs[agent.behaviour] = Spaces.describe(agent.behaviour, node)
		behaviours.append(specs[agent.behaviour])


func _add_row(agent, type, seen):
	_newest.append({"agent": agent, "type": type, "seen": seen, "late": false})


# An agent's action until the next decision. It may have left since.
func _give(agent, spec, action):
	if agent.node == null or action.size() == 0:
		return
	if spec["fallback"] == Fallback.LAST:
		# A copy: the game may change what it is given.
		agent.last = action.duplicate(true)
	agent.node.set_action(action)


func _rows_of(rows, agent):
	if not rows.has(agent.behaviour):
		rows[agent.behaviour] = Rows.new(specs[agent.behaviour])
	return rows[agent.behaviour]


func _said(rows):
	var sent = []
	_acting = {}
	for name in rows:
		sent.append(rows[name].said())
		_acting[name] = rows[name].acting
		if rows[name].problem != "":
			problem = rows[name].problem
	var undeclared = []
	while _declared < behaviours.size():
		undeclared.append(behaviours[_declared])
		_declared += 1
	return {"behaviours": sent, "new_behaviours": undeclared}
