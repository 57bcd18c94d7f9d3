# A game with one mistake of a beginner's: -s mistakes.gd --mistake=NAME.
extends SceneTree

const Agent = preload("res://addons/entrain/entrain_agent.gd")
const Platform = preload("res://addons/entrain/platform.gd")
const Sync = preload("res://addons/entrain/entrain_sync.gd")


class Frog:
	extends Agent
	var mistake = ""

	func get_obs():
		if mistake == "observation":
			return {"place": 1.0}
		return {"place": []} if mistake == "empty" else {"place": [1.0]}

	func get_action_space():
		if mistake == "type":
			return {"move": {"size": 3, "action_type": "discreet"}}
		if mistake == "key":
			return {"move": {"size": 3, "type": "discrete"}}
		return {"move": {"size": 3, "action_type": "discrete"}}

	func get_action_mask():
		if mistake == "mask":
			return {"move": [false, true]}
		return {"mov": [false, true, true]} if mistake == "mask_name" else {}


func _init():
	var mistake = ""
	for argument in Platform.arguments():
		if argument.begins_with("--mistake="):
			mistake = argument.replace("--mistake=", "")
	if mistake != "alone":
		var frog = Frog.new()
		frog.mistake = mistake
		root.add_child(frog)
	root.add_child(Sync.new())
