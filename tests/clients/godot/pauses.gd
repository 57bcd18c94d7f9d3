# Who pauses the game, and for how long: -s pauses.gd --mode=N. Prints what each tick came to, as JSON.
#
# With mode 1 (training) a script stands in for the trainer: it holds the game in ticks 3 to 8 and 13
# to 16. With mode 0 (human) only the game's own pause is there.
extends SceneTree

const Agent = preload("res://addons/entrain/entrain_agent.gd")
const Platform = preload("res://addons/entrain/platform.gd")
const Sync = preload("res://addons/entrain/entrain_sync.gd")
const Training = preload("res://addons/entrain/core/training.gd")


class Bug:
	extends Agent

	func get_obs():
		return {"place": [1.0]}

	func get_action_space():
		return {"go": {"size": 1, "action_type": "continuous"}}

	func set_action(_action):
		pass


class Ground:
	extends Node
	var ticks = 0

	func _physics_process(_delta):
		ticks += 1


# In place of Training and of Session.
class StandIn:
	var tick = 0
	var asked = 0
	var polls = 0

	func tick():
		asked += 1
		return Training.PAUSE if tick in [3, 4, 5, 6, 7, 8, 13, 14, 15, 16] else Training.GO_ON

	func poll(_now_ms):
		polls += 1

	func end(_code, _words):
		print("left in tick ", tick)

	func is_leaving(_now_ms):
		return false


class Menu:
	extends Node
	var told = []
	var tick = 0
	var stand_in
	var sync_node
	var world
	var bug

	# Before EntrainSync, in each tick.
	func _physics_process(_delta):
		tick += 1
		stand_in.tick = tick
		if sync_node.control_mode == 1:
			sync_node._training = stand_in
			sync_node._session = stand_in
			_act_in_training()
		elif tick in [5, 10]:
			get_tree().paused = tick == 5
		told.append([stand_in.asked, stand_in.polls, world.ticks, bug.n_steps])
		if tick == 20:
			# A game that asks its player first, who stays.
			sync_node.notification(MainLoop.NOTIFICATION_WM_QUIT_REQUEST)
		elif tick == 21:
			print("ticks ", JSON.print(told))
			get_tree().quit()

	func _act_in_training():
		if tick in [6, 11]:
			# A menu that opens while the game is held, and stays open after the actions have come.
			sync_node.pause_game(tick == 6)
		elif tick == 15:
			# A menu that knows nothing of it, and closes while the game is held.
			get_tree().paused = false
		elif tick in [18, 19]:
			# Such a menu, while the game is not held.
			get_tree().paused = tick == 18


func _init():
	var menu = Menu.new()
	menu.pause_mode = Node.PAUSE_MODE_PROCESS
	menu.process_priority = -2000
	menu.stand_in = StandIn.new()
	menu.sync_node = Sync.new()
	menu.world = Ground.new()
	menu.bug = Bug.new()
	for argument in Platform.arguments():
		if argument.begins_with("--mode="):
			menu.sync_node.control_mode = int(argument.replace("--mode=", ""))
	for node in [menu, menu.bug, menu.sync_node, menu.world]:
		root.add_child(node)
