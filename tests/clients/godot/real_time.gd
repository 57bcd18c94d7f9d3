# Agents in a game that does not wait: what tests/clients/test_godot_real_time.py expects.
#
#     -s real_time.gd --fallback=NAME --deadline=MS
#
# A walker whose episode never ends, and a mayfly whose episode has five ticks. Both earn 0.5 in each
# tick. The walker writes how many actions it was given to acts.txt.
extends SceneTree

const Agent = preload("res://addons/entrain/entrain_agent.gd")
const Platform = preload("res://addons/entrain/platform.gd")
const Sync = preload("res://addons/entrain/entrain_sync.gd")


class Walker:
	extends Agent
	var x = 0.0
	var heard = [0.0]
	var given = 0

	func get_obs():
		return {"place": [x, heard[0]]}

	func get_action_space():
		return {"go": {"size": 1, "action_type": "continuous", "low": 0.125, "high": 4.0}}

	func set_action(action):
		heard = action["go"]
		given += 1
		if policy_name == "walker":
			var file = File.new()
			file.open("res://acts.txt", File.WRITE)
			file.store_string(str(given))
			file.close()

	func control():
		return {"go": [3.5]}

	func reset():
		x = 0.0
		heard = [0.0]

	func _physics_process(_delta):
		x += 1.0
		reward += 0.5
		done = policy_name == "mayfly" and x >= 5.0


func _init():
	for name in ["walker", "mayfly"]:
		var agent = Walker.new()
		agent.policy_name = name
		agent.reset_after = 0
		for argument in Platform.arguments():
			if argument.begins_with("--fallback="):
				agent.fallback = argument.replace("--fallback=", "")
			elif argument.begins_with("--deadline=") and name == "walker":
				agent.deadline_ms = int(argument.replace("--deadline=", ""))
		root.add_child(agent)
	var entrain_sync = Sync.new()
	entrain_sync.action_repeat = 2
	root.add_child(entrain_sync)
