# Leads core/training.gd with agents through Acts that do not fit and sessions that begin anew.
#
# Sockets and a trainer of its own. Prints a line of JSON for each scenario, for
# tests/clients/test_godot_training.py: the Steps that were sent, and how the session stands.
extends SceneTree

const Agent = preload("res://addons/entrain/entrain_agent.gd")
const Agents = preload("res://addons/entrain/core/agents.gd")
const Messages = preload("res://addons/entrain/core/messages.gd")
const Session = preload("res://addons/entrain/core/session.gd")
const Training = preload("res://addons/entrain/core/training.gd")
const Writer = preload("res://addons/entrain/core/writer.gd")


class Bug:
	extends Agent
	var heard = []

	func get_obs():
		return {"place": [1.0]}

	func get_action_space():
		return {
			"go": {"size": 1, "action_type": "continuous"},
			"tool": {"size": 3, "action_type": "discrete"},
			"jump": {"size": 2, "action_type": "discrete"}
		}

	func set_action(action):
		heard.append([action["go"][0], action["tool"], action["jump"]])


class Line:
	var _main = Engine.get_meta("main")
	var _inbox = []
	var _is_closed = false

	func open(_url, _options):
		_main.line = self
		return true

	func poll():
		pass

	func send(bytes):
		_main.sent.append(bytes.hex_encode())

	func say(bytes):
		_inbox.append(bytes)

	func receive():
		return _inbox.pop_front() if _inbox.size() > 0 else null

	func close():
		_is_closed = true

	func drop():
		_is_closed = true

	func is_open():
		return not _is_closed

	func is_closed():
		return _is_closed

	func close_code():
		return 1006

	func close_words():
		return ""

	func refusal():
		return ""


var line
var sent = []
var agents
var session
var training
var bugs = []


func _init():
	Engine.set_meta("main", self)
	for method in get_method_list():
		if method["name"].begins_with("scenario_"):
			begin()
			call(method["name"])
			say(method["name"].replace("scenario_", ""))
	var whole = [0.5, 2, 1]
	say_act("whole", [part("bug", whole)])
	say_act("of-nobody", [part("bug", whole), part("cat", whole)])
	say_act("missing", [])
	say_act("too-many", [part("bug", [0.5, 2, 1, 1])])
	say_act("beyond", [part("bug", [0.5, 2, 2])])
	say_act("far-beyond", [part("bug", [0.5, 100000000, 1])])
	say_act("negative", [part("bug", [0.5, -1, 1])])
	say_act("nan", [part("bug", [NAN, 2, 1])])
	say_act("infinite", [part("bug", [INF, 2, 1])])
	say_act("not-whole", [part("bug", whole, 1)])
	quit()


func on_joined(_welcome):
	pass


func on_parameters(_parameters):
	pass


# A game whose Hello was sent.
func begin():
	sent = []
	bugs = []
	agents = Agents.new()
	add_bug("bug")
	var options = {"address": "ws://t:1", "connect_s": 300.0, "reconnect_s": 60.0}
	options["token_file"] = ""
	var hello = {"instance_id": "i", "behaviours": agents.behaviours}
	session = Session.new(Line, options, hello)
	training = Training.new(agents, session, self)
	training.action_repeat = 2
	training.longest_block_ms = 0
	tick(2)


func add_bug(name):
	var bug = Bug.new()
	bug.policy_name = name
	root.add_child(bug)
	bugs.append(bug)
	agents.refresh([bug])


func tick(count):
	for _each in range(count):
		training.tick()


func say(name):
	var told = {"sent": sent, "heard": bugs[0].heard, "is_ended": session.is_ended()}
	told["exit_code"] = session.exit_code
	told["words"] = session.last_words
	print("scenario ", JSON.print([name, told]))


# What becomes of an Act with these parts.
func say_act(name, parts):
	begin()
	welcome()
	act(1, parts)
	say("act-" + name)


func welcome(revision = 3):
	var writer = Writer.new()
	writer.uint(1, Messages.VERSION)
	writer.text(2, "s1")
	writer.uint(10, revision)
	respond(1, writer)


func act(sequence, parts):
	var writer = Writer.new()
	writer.uint(1, sequence)
	for each in parts:
		writer.message(2, each)
	respond(2, writer)


func respond(field, content):
	var writer = Writer.new()
	writer.message(field, content)
	line.say(writer.bytes())
	tick(1)


# The actions of a behaviour: a number and choices, with some bytes too many.
func part(name, values, extra = 0):
	var numbers = StreamPeerBuffer.new()
	numbers.put_float(values[0])
	var choices = StreamPeerBuffer.new()
	for choice in values.slice(1, values.size() - 1):
		choices.put_32(choice)
	for _each in range(extra):
		choices.put_u8(0)
	var writer = Writer.new()
	writer.text(1, name)
	writer.data(2, numbers.data_array)
	writer.data(3, choices.data_array)
	return writer


# A kind of agent comes after the Hello and before its Welcome.
func scenario_late_kind():
	add_bug("cat")
	welcome()


# A kind of agent comes to a trainer that takes none after the Hello.
func scenario_late_kind_of_an_old_trainer():
	welcome(0)
	act(1, [part("bug", [0.5, 2, 1])])
	sent = []
	add_bug("cat")
	tick(2)


# A game notes a number in each tick, for as long as its Step waits.
func scenario_many_numbers():
	welcome()
	for _each in range(20000):
		training.note("speed", 1.0, 1)
	for name in ["coins", "coins"]:
		training.note(name, 2.0, 3)
	sent = []
	act(1, [part("bug", [0.5, 2, 1])])
	tick(2)
	training.note("coins", 3.0, 3)
	act(2, [part("bug", [0.5, 2, 1])])
	tick(2)


# The same, while the trainer is dialled again, which has forgotten the session.
func scenario_late_kind_of_a_new_session():
	welcome()
	line.drop()
	tick(3)
	add_bug("cat")
	welcome()


# The session begins anew while the game is paused: only the connection is kept alive.
func scenario_begun_in_a_pause():
	welcome()
	act(1, [part("bug", [0.5, 2, 1])])
	line.drop()
	for now_ms in [100000, 100001, 100002]:
		session.poll(now_ms)
	sent = []
	var writer = Writer.new()
	writer.uint(1, Messages.VERSION)
	writer.text(2, "s2")
	var response = Writer.new()
	response.message(1, writer)
	line.say(response.bytes())
	session.poll(100003)
	tick(3)
