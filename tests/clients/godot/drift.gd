# Eight agents on a line, with random starts and without Godot's physics, which does not repeat from
# one process to the next: contacts come in the order of addresses in memory.
extends SceneTree

const Agent = preload("res://addons/entrain/entrain_agent.gd")
const Sync = preload("res://addons/entrain/entrain_sync.gd")


class Drifter:
	extends Agent
	var x = 0.0
	var push = 0.0

	func get_obs():
		return {"x": [x]}

	func get_action_space():
		return {"push": {"size": 1, "action_type": "continuous"}}

	func set_action(action):
		push = action["push"][0]

	func reset():
		x = rand_range(-1.0, 1.0)

	func _physics_process(_delta):
		x += 0.1 * push
		reward -= abs(x)
		done = abs(x) > 1.5


func _init():
	for _each in range(8):
		var drifter = Drifter.new()
		drifter.policy_name = "ball"
		drifter.reset_after = 30
		root.add_child(drifter)
	var entrain_sync = Sync.new()
	entrain_sync.action_repeat = 2
	root.add_child(entrain_sync)
