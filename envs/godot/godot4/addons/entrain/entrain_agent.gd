# One agent of the game. Extend this script, and say what it sees, what it can do and what it earns.
class_name EntrainAgent
extends Node

# Which policy it learns: the behaviour's name in the trainer's file. Agents that share it share the
# policy, and must have the same spaces.
@export var policy_name: String = "shared_policy"
# Physics ticks after which an episode is cut off; 0: never.
@export var reset_after: int = 1000
# For games in real time: how many milliseconds after its rows the agent waits for an action, then
# `fallback` acts. 0: as long as it takes. Of the agents that share a policy, the first one's count.
@export var deadline_ms: int = 0
# The last action again, a neutral one, or what `control` returns.
@export_enum("last", "neutral", "controller") var fallback: String = "last"

# "human" while nobody else decides, else "model".
var heuristic = "human"
# Set it when nothing can follow: the goal is reached, the agent is dead.
var done = false
# Add to it whenever the agent earns something.
var reward = 0.0
# Physics ticks of this episode.
var n_steps = 0
# Its place among all agents, as EntrainSync keeps it.
var entrain_agent = null

var _player = null
# Functions that the game should have written, and was told of once.
var _missing = {}


# Whose agent this is; unless told otherwise, the node above.
func init(player):
	_player = player


# What it sees: {name: numbers}; bytes, such as image.get_data(), for an image.
func get_obs():
	_miss("get_obs")
	return {"obs": []}


# The size of each observation; write it for images and for what is no plain list of numbers.
func get_obs_space():
	var spaces = {}
	var observed = get_obs()
	for name in observed:
		spaces[name] = {"size": [observed[name].size()], "space": "box"}
	return spaces


# What it can do: {name: {"size": n, "action_type": "continuous" or "discrete"}}.
func get_action_space():
	_miss("get_action_space")
	return {}


# What it shall do until the next decision: {name: [numbers]} or {name: a choice}.
func set_action(_action):
	_miss("set_action")


# Which choices are allowed: {name: [bools]}; empty: all.
func get_action_mask():
	return {}


# The action of the game's own controller, as set_action is given it, where the trainer's come too
# late; for the fallback "controller".
func control():
	_miss("control")
	return {}


# Begin an episode: put the agent, or its world, back. Called by EntrainSync.
func reset():
	pass


# End the episode now, with what the agent sees now. truncated: it was merely cut off.
func end_episode(truncated = false):
	if entrain_agent != null:
		entrain_agent.end_episode(4 if truncated else 3)


func get_reward():
	return reward


func zero_reward():
	reward = 0.0


func get_done():
	return done


func set_done_false():
	done = false


func set_heuristic(name):
	heuristic = name


func _miss(function):
	if not _missing.has(function):
		_missing[function] = true
		push_error("%s: extend the script and write %s" % [get_path(), function])


func _notification(what):
	if what == NOTIFICATION_ENTER_TREE:
		add_to_group("ENTRAIN_AGENT")
		if _player == null:
			_player = get_parent()
	elif what == NOTIFICATION_EXIT_TREE and entrain_agent != null:
		entrain_agent.leave()
		entrain_agent = null
