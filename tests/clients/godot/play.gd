# Lets the balls of the example play the policy in policy.json for 1,800 ticks; counts the coins.
extends SceneTree


class Counter:
	extends Node
	var balls = []
	var coins = 0
	var ticks = 0

	func _physics_process(_delta):
		for ball in balls:
			coins += 1 if ball.done else 0
		ticks += 1
		if ticks == 1800:
			print("coins ", coins)
			get_tree().quit()


func _init():
	var scene = load("res://example/main.tscn").instance()
	var entrain_sync = scene.get_node("EntrainSync")
	entrain_sync.control_mode = 2
	entrain_sync.policy_path = "res://policy.json"
	seed(3)
	var counter = Counter.new()
	for arena in scene.get_children():
		if arena.has_node("Ball/Agent"):
			counter.balls.append(arena.get_node("Ball/Agent"))
	root.add_child(scene)
	# Behind all others: it sees what they have done in each tick.
	counter.process_priority = 1000
	root.add_child(counter)
