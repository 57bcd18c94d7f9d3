# A world without physics whose every number is known: what tests/clients/test_godot.py expects.
#
# Two walkers go one step a tick and are done at 5. A chooser has two branches, one masked, and a
# time limit. A guest comes in tick 6 and leaves in tick 10.
extends SceneTree

const Agent = preload("res://addons/entrain/entrain_agent.gd")
const Sync = preload("res://addons/entrain/entrain_sync.gd")


class Walker:
	extends Agent
	var x = 0.0
	var heard = []

	func get_obs():
		return {"place": [x, float(n_steps)], "last": heard.duplicate() if heard else [0.0]}

	func get_action_space():
		return {"go": {"size": 1, "action_type": "continuous", "low": -2.0, "high": 0.5}}

	func set_action(action):
		heard = action["go"]

	func reset():
		x = 0.0

	func _physics_process(_delta):
		x += 1.0
		reward += 0.5
		done = x >= 5.0


class Chooser:
	extends Agent
	var chosen = [0, 0]

	func get_obs():
		return {"chosen": chosen}

	func get_action_space():
		return {
			"tool": {"size": 3, "action_type": "discrete"},
			"jump": {"size": 2, "action_type": "discrete"}
		}

	func get_action_mask():
		return {"tool": [true, false, true]}

	func set_action(action):
		chosen = [action["tool"], action["jump"]]

	func reset():
		chosen = [0, 0]


class Ground:
	extends Node
	var ticks = 0
	var guest = null
	var sync_node

	func _physics_process(_delta):
		ticks += 1
		sync_node.note("ticks", ticks)
		if ticks == 6:
			guest = Walker.new()
			guest.policy_name = "guest"
			add_child(guest)
		elif ticks == 10:
			guest.queue_free()


func _init():
	var world = Ground.new()
	for name in ["walker", "walker", "chooser"]:
		var agent = Chooser.new() if name == "chooser" else Walker.new()
		agent.policy_name = name
		agent.reset_after = 6 if name == "chooser" else 0
		world.add_child(agent)
	world.sync_node = Sync.new()
	world.sync_node.action_repeat = 2
	world.sync_node.connect("parameters_changed", self, "_on_parameters")
	world.add_child(world.sync_node)
	root.add_child(world)


func _on_parameters(parameters):
	print("parameters ", JSON.print(parameters))
