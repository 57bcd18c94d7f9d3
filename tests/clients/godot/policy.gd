# Evaluates policy.json on the rows of inputs.json, and prints the actions as JSON.
extends SceneTree

const Policy = preload("res://addons/entrain/core/policy.gd")
const Platform = preload("res://addons/entrain/platform.gd")


func _init():
	var policy = Policy.new(Platform.parse_json(Platform.read_text("res://policy.json")))
	var actions = []
	for row in Platform.parse_json(Platform.read_text("res://inputs.json")):
		actions.append(policy.act(row["observation"], row["mask"]))
	print("actions ", JSON.print(actions))
	quit()
