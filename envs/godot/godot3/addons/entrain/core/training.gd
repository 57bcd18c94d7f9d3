# One physics tick of a game that learns: notes ends, and asks the trainer when a decision is due.
#
# A trainer usually answers within a millisecond, and `tick` waits for it. An update of the policy
# takes longer: then `tick` returns PAUSE, and is called again in the next tick, so that the window
# lives on while the game stands still.
#
# With a deadline the game stands still no longer than that. Then a fallback acts, and again at each
# decision, until the actions are here; those are not taken any more, and the next Step says what
# happened meanwhile.

enum { GO_ON, PAUSE, END }
enum { JOINING, FREE, ASKED }

const Platform = preload("../platform.gd")
const Refusals = preload("refusals.gd")

# From this revision on trainers take kinds of agents that no Hello has named.
const LATER_KINDS_REVISION = 1
# From this revision on trainers read which rows are late.
const REAL_TIME_REVISION = 2
# Reported to the trainer: how often the game went on without it. One late step may be many.
const FALLBACK_STEPS = "fallback_steps"
const SUM = 3
# In one Step; more would make that of a game that waits for hours too long.
const MOST_VALUES = 10000

# Ticks between two decisions.
var action_repeat = 8
# How long one tick may wait; -1: for ever.
var longest_block_ms = 20

var _phase = JOINING
var _ticks = 0
# When the time of the Step that was sent is over; -1: never.
var _due_ms = -1
# How often the fallback has acted since that Step.
var _late_steps = 0
var _agents
var _session
var _listener
var _parameters = null
var _statistics = {}
var _num_values = 0
var _has_left_out = false


# listener: is told of a new session and of new environment parameters, before an episode begins.
func _init(agents, session, listener):
	_agents = agents
	_session = session
	_listener = listener


func tick():
	if _session.take_beginning():
		# It began while the game was paused, or went on by itself.
		_begin()
	if _phase == FREE:
		_agents.tick()
		_ticks += 1
		if _ticks % action_repeat != 0:
			if _late_steps > 0:
				# The Step before is still unanswered.
				_session.poll(Platform.ticks_ms())
			return GO_ON
		_ask()
	return _wait()


# A number for people, sent with the next Step. aggregation: as in the wire contract; 1 is the mean.
func note(name, value, aggregation):
	if _num_values >= MOST_VALUES:
		if not _has_left_out:
			print("entrain: more than %d values of statistics in one step: some left out" % MOST_VALUES)
		_has_left_out = true
		return
	_num_values += 1
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
			_session.end(Refusals.MISFIT, _agents.problem)
		if _session.is_ended():
			return END
		if _session.take_beginning():
			_begin()
		var act = _session.take_act()
		if act != null:
			_take(act)
		elif _phase == ASKED and _due_ms >= 0 and now_ms >= _due_ms:
			_agents.fall_back()
			_late_steps += 1
			_phase = FREE
		if _phase == FREE:
			return GO_ON
		if longest_block_ms >= 0 and now_ms - since_ms >= longest_block_ms:
			return PAUSE
		# Quick while the answer may come any moment, then rarely: an update takes seconds.
		rounds += 1
		OS.delay_usec(50 if rounds < 200 else 1000)


func _begin():
	# The game's own randomness, so that a run repeats.
	seed(_session.welcome["seed"])
	_agents.forget(_session.declared)
	_ticks = 0
	_late_steps = 0
	_listener.on_joined(_session.welcome)
	_note_parameters()
	if _agents.deadline_ms() > 0 and _session.welcome["revision"] < REAL_TIME_REVISION:
		print("entrain: this trainer is too old to be told which actions came too late, and would " +
			"learn from them as if they had been taken: every action is waited for; upgrade it")
	_ask()


# A decision is due. While the Step before has no actions its rows wait with those before them.
func _ask():
	_phase = ASKED
	_agents.collect(_late_steps > 0)
	if _late_steps == 0:
		_send()


func _send():
	var said = _agents.said()
	var later = said["new_behaviours"]
	if later.size() > 0 and _session.welcome["revision"] < LATER_KINDS_REVISION:
		_session.end(Refusals.MISFIT, Refusals.too_old_for(later[0]["name"]))
		return
	said["statistics"] = _statistics.values()
	_statistics = {}
	_num_values = 0
	_session.send_step(said)
	var is_told = _session.welcome["revision"] >= REAL_TIME_REVISION
	var deadline_ms = _agents.deadline_ms() if is_told else 0
	_due_ms = Platform.ticks_ms() + deadline_ms if deadline_ms > 0 else -1


# Actions are here. Those that came too late were for a game that has gone on.
func _take(act):
	if _late_steps > 0:
		note(FALLBACK_STEPS, _late_steps, SUM)
		_late_steps = 0
		_send()
	else:
		var wrong = _agents.act(act)
		if wrong != "":
			_session.end(Refusals.FAILED, wrong)
		else:
			_phase = FREE
	_note_parameters()


func _note_parameters():
	if str(_session.parameters) != str(_parameters):
		_parameters = _session.parameters
		_listener.on_parameters(_parameters)
