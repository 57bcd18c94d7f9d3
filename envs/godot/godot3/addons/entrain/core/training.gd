# One physics tick of a game that learns: notes ends, and asks the trainer when a decision is due.
#
# A trainer usually answers within a millisecond, and `tick` waits for it. An update of the policy
# takes longer: then `tick` returns PAUSE, and is called again in the next tick, so that the window
# lives on while the game stands still.

enum { GO_ON, PAUSE, END }
enum { JOINING, FREE, ASKED }

const Platform = preload("../platform.gd")

# Ticks between two decisions.
var action_repeat = 8
# How long one tick may wait; -1: for ever.
var longest_block_ms = 20

var _phase = JOINING
var _ticks = 0
var _agents
var _session
var _listener
var _parameters = null
var _statistics = {}


# listener: is told of a new session and of new environment parameters, before an episode begins.
func _init(agents, session, listener):
	_agents = agents
	_session = session
	_listener = listener


func tick():
	if _phase == FREE:
		_agents.tick()
		_ticks += 1
		if _ticks % action_repeat != 0:
			return GO_ON
		_ask()
	return _wait()


# A number for people, sent with the next Step. aggregation: as in the wire contract; 1 is the mean.
func note(name, value, aggregation):
	if not _statistics.has(name):
		_statistics[name] = {"name": name, "aggregation": aggregation, "values": []}
	_statistics[name]["values"].append(value)


func _wait():
	var since_ms = Platform.ticks_ms()
	var rounds = 0
	while true:
		var now_ms = Platform.ticks_ms()
		_session.poll(now_ms)
		if _agents.problem != "":
			_session.end(78, _agents.problem)
		if _session.is_ended():
			return END
		if _session.take_beginning():
			_begin()
		var act = _session.take_act()
		if act != null:
			_agents.act(act)
			_phase = FREE
			_note_parameters()
			return GO_ON
		if longest_block_ms >= 0 and now_ms - since_ms >= longest_block_ms:
			return PAUSE
		# Quick while the answer may come any moment, then rarely: an update takes seconds.
		rounds += 1
		OS.delay_usec(50 if rounds < 200 else 1000)


func _begin():
	# The game's own randomness, so that a run repeats.
	seed(_session.welcome["seed"])
	_agents.forget()
	_ticks = 0
	_listener.on_joined(_session.welcome)
	_note_parameters()
	_ask()


func _ask():
	_phase = ASKED
	var said = _agents.collect()
	said["statistics"] = _statistics.values()
	_statistics = {}
	_session.send_step(said)


func _note_parameters():
	if str(_session.parameters) != str(_parameters):
		_parameters = _session.parameters
		_listener.on_parameters(_parameters)
