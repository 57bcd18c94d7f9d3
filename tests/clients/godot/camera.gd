# Sixty agents that see an image each: Steps of more than a mebibyte.
extends SceneTree

const Agent = preload("res://addons/entrain/entrain_agent.gd")
const Sync = preload("res://addons/entrain/entrain_sync.gd")


class Watcher:
	extends Agent
	var image = StreamPeerBuffer.new()

	func get_obs():
		image.resize(84 * 84 * 3)
		image.seek(0)
		image.put_u8(entrain_agent.id if entrain_agent else 0)
		return {"camera": image.data_array}

	func get_obs_space():
		return {"camera": {"size": [84, 84, 3], "space": "box", "dtype": "uint8"}}

	func get_action_space():
		return {"look": {"size": 2, "action_type": "discrete"}}

	func set_action(_action):
		pass


func _init():
	for _each in range(60):
		root.add_child(Watcher.new())
	root.add_child(Sync.new())
