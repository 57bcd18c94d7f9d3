# Merges rows of late decisions and chooses fallback actions, as cases.json says; answers as JSON.
extends SceneTree

const Fallback = preload("res://addons/entrain/core/fallback.gd")
const LateRows = preload("res://addons/entrain/core/late_rows.gd")
const Platform = preload("res://addons/entrain/platform.gd")
const Spaces = preload("res://addons/entrain/core/spaces.gd")


class Agent:
	var id


func _init():
	var cases = Platform.parse_json(Platform.read_text("res://cases.json"))
	var answers = {"merged": [], "actions": []}
	for calls in cases["merged"]:
		answers["merged"].append(_merged(calls))
	for case in cases["actions"]:
		answers["actions"].append(_action(case))
	print("answers ", JSON.print(answers))
	quit()


# calls: each the rows of one decision, [agent, type, reward, seen]; null: what waits is sent.
func _merged(calls):
	var sent = []
	var waiting = []
	for rows in calls:
		if rows == null:
			sent.append(waiting)
			waiting = []
			continue
		for row in rows:
			waiting.append(_row(row))
		waiting = LateRows.merged(waiting)
	var said = []
	for step in sent:
		var numbers = []
		for row in step:
			var seen = row["seen"]
			var is_late = int(row["late"])
			numbers.append([row["agent"].id, row["type"], seen["reward"], seen["obs"], is_late])
		said.append(numbers)
	return said


func _row(numbers):
	var agent = Agent.new()
	agent.id = int(numbers[0])
	var seen = {"reward": numbers[2], "obs": numbers[3]}
	return {"agent": agent, "type": int(numbers[1]), "seen": seen, "late": false}


func _action(case):
	var parts = {"move": {"size": case["low"].size(), "action_type": "continuous"}}
	parts["move"]["low"] = case["low"]
	parts["move"]["high"] = case["high"]
	for branch in range(case["branches"].size()):
		parts[str(branch)] = {"size": case["branches"][branch], "action_type": "discrete"}
	var spec = {"action": {"low": [], "high": [], "branches": []}, "parts": [], "fallback": 1}
	for name in parts:
		spec["parts"].append(Spaces._part(name, parts[name], spec["action"]))
	var seen = {"mask": case["mask"]}
	var last = case["last"]
	if last != null:
		for branch in range(case["branches"].size()):
			last[str(branch)] = int(last[str(branch)])
	return Fallback.action_for(spec, {"type": int(case["type"]), "seen": seen}, last)
