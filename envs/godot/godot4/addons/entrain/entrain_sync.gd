# Connects the game's agents with a trainer, or lets them play a trained policy. One in a scene.
# A game with a menu pauses by `pause_game`, not by get_tree().paused.
class_name EntrainSync
extends Node

# A session began: all agents begin anew.
signal joined(welcome)
# The trainer has set numbers of the environment: {name: number}.
signal parameters_changed(parameters)
# Nothing more is asked of the game.
signal training_ended(words)

enum ControlModes { HUMAN, TRAINING, INFERENCE }

const Agents = preload("core/agents.gd")
const Options = preload("core/options.gd")
const Platform = preload("platform.gd")
const Playing = preload("core/playing.gd")
const Session = preload("core/session.gd")
const Socket = preload("socket.gd")
const Training = preload("core/training.gd")

# Agents may come a while after the scene has begun.
const MOST_TICKS_ALONE = 60

@export var control_mode: ControlModes = ControlModes.TRAINING
# Physics ticks between two decisions.
@export var action_repeat: int = 8
# How many times faster than real time the game runs while it learns.
@export var speed_up: float = 1.0
# Of the trainer's option server.websocket. $ENTRAIN_WEBSOCKET and --address=URL come first.
@export var address: String = "ws://localhost:50052"
# Its name in the trainer's log; $ENTRAIN_SIMULATOR comes first. Empty: the project's name.
@export var simulator: String = ""
# "evaluation": its agents take part in the run's evaluations alone, of which nothing is learned.
# $ENTRAIN_ROLE comes first.
@export_enum("training", "evaluation") var role: String = "training"
# A file whose first line is the trainer's token; $ENTRAIN_TOKEN_FILE comes first.
@export var token_file: String = ""
# The certificate of the authority behind a wss:// address; $ENTRAIN_TLS_CA comes first.
@export var tls_ca: String = ""
# For INFERENCE: a file of `entrain export --format json`, or a folder with one a policy name.
# --policy=PATH plays it whatever the mode is.
@export var policy_path: String = "res://policies"
# How long a tick waits for actions before it lets the window live and the game stand still. Without
# a window, it waits for ever.
@export var longest_block_ms: int = 20
# End the program when training is complete, with an exit code that tells how.
@export var quit_at_end: bool = true

# Numbers that the trainer's file sets: environment_parameters.
var environment_parameters = {}

var _agents = Agents.new()
var _session = null
var _training = null
var _playing = null
# How many ticks no agent has come.
var _ticks_alone = 0
var _is_over = false
# Whether this node has paused the game, until actions are here.
var _is_holding = false
# Whether the game has, by `pause_game`.
var _is_paused = false
# Whether a game that paused in another way was told of `pause_game`.
var _has_hinted = false


func _ready():
	process_mode = Node.PROCESS_MODE_ALWAYS
	# Before all others: agents see the world as the physics left it, and act in this tick.
	process_physics_priority = -1000
	var options = Options.read(self, Platform.arguments())
	if options["policy_path"] != "" or control_mode == ControlModes.TRAINING:
		_agents.problem = Options.problem_of(options)
	if options["policy_path"] != "":
		_playing = Playing.new(_agents, options["policy_path"])
		_playing.action_repeat = options["action_repeat"]
	elif control_mode == ControlModes.TRAINING:
		var hello = Options.hello(options, _agents.behaviours)
		_session = Session.new(Socket, options, hello)
		_training = Training.new(_agents, _session, self)
		_training.action_repeat = options["action_repeat"]
		_training.longest_block_ms = options["longest_block_ms"]
		if _agents.problem == "":
			Platform.set_speed(int(Platform.physics_rate() * options["speed_up"]), options["speed_up"])


# Tell people a number, such as coins; it changes nothing in what is learned.
func note(name, value, aggregation = 1):
	if _training != null:
		_training.note(name, value, aggregation)


# Pause the game, as its menu does, or let it go on. Menus call this instead of setting
# get_tree().paused: this node sets that, too, while the game stands still for actions, and Godot
# does not tell the two apart. Such a menu's pause ends when the actions come.
func pause_game(is_paused):
	_is_paused = is_paused
	_apply_pause()


func _physics_process(_delta):
	if _is_over:
		return
	var is_own_pause = _is_paused or (get_tree().paused and not _is_holding)
	_agents.refresh(get_tree().get_nodes_in_group("ENTRAIN_AGENT"))
	if _training != null:
		_train(is_own_pause)
		return
	if is_own_pause:
		return
	_agents.set_heuristic("human" if _playing == null else "model")
	if _agents.problem != "":
		_end(78, _agents.problem)
	elif _playing == null:
		_agents.tick()
		_agents.begin_due()
	else:
		_playing.tick()
		if _playing.problem != "":
			_end(1, _playing.problem)


func _train(is_own_pause):
	if _agents.behaviours.size() == 0 and _agents.problem == "" and _ticks_alone < MOST_TICKS_ALONE:
		_ticks_alone += 1
		if _ticks_alone == MOST_TICKS_ALONE:
			_end(78, "no EntrainAgent is in the scene; errors above may tell why")
		return
	if is_own_pause:
		if not _is_paused and not _has_hinted:
			_has_hinted = true
			print("entrain: the game was paused by get_tree().paused, which ends when actions come; " +
				"call pause_game(true) of EntrainSync instead, and pause_game(false)")
		# Keep the connection alive, and no more.
		_session.poll(Platform.ticks_ms())
		return
	_agents.set_heuristic("model")
	var what = _training.tick()
	_hold(what == Training.PAUSE)
	if what == Training.END:
		_end(_session.exit_code, _session.last_words)


# The game stands still while actions are chosen, and goes on afterwards.
func _hold(is_holding):
	# Also if it was held before: a menu that was closed meanwhile has let the game go on.
	if is_holding or _is_holding:
		_is_holding = is_holding
		_apply_pause()


func _apply_pause():
	get_tree().paused = _is_holding or _is_paused


func on_joined(welcome):
	print("entrain: joined run '%s'" % welcome["run_id"])
	joined.emit(welcome)


func on_parameters(parameters):
	environment_parameters = parameters
	parameters_changed.emit(parameters)


func _end(exit_code, words):
	_is_over = true
	_hold(false)
	print("entrain: %s" % words)
	training_ended.emit(words)
	if quit_at_end:
		_leave()
		get_tree().quit(exit_code)


func _notification(what):
	# Not when its window is to be closed: the game may ask its player first, who stays.
	if what == NOTIFICATION_EXIT_TREE:
		_leave()


# Say Goodbye, and give it half a second to arrive.
func _leave():
	if _session == null:
		return
	_session.end(0, "the game ends")
	var until_ms = Platform.ticks_ms() + 500
	while _session.is_leaving(Platform.ticks_ms()) and Platform.ticks_ms() < until_ms:
		OS.delay_usec(1000)
	_session = null
