# A simulator's membership with one trainer, over as many sockets as that takes.
#
#     PAUSING --> DIALLING --> GREETING --Welcome--> RUNNING --Close or a refusal--> ENDED
#        '------------------ a broken connection <------'
#
# Never waits: `poll` does what is due at a time that is given. Knows no agents and no nodes.

enum { PAUSING, DIALLING, GREETING, RUNNING, ENDED }

const Messages = preload("messages.gd")
const Options = preload("options.gd")
const Patience = preload("patience.gd")
const Refusals = preload("refusals.gd")
const Silence = preload("silence.gd")

const DIAL_MS = 10000
const GREETING_MS = 30000
# A stream that was joined for longer ends the trouble before it.
const HELD_MS = 10000

var welcome = {"session_id": "", "max_message_bytes": 0, "revision": 0, "seed": 0}
var parameters = {}
# How many behaviours the newest Hello named.
var declared = 0
var exit_code = Refusals.DONE
var last_words = ""

var _state = PAUSING
var _sockets
var _options
var _hello
var _socket = null
var _silence
var _patience = Patience.new()
var _sequence = 0
var _unanswered = null
var _act = null
var _has_begun = false
var _has_stopped = false
var _joined_at_ms = 0
var _dial_at_ms = 0
var _limit_ms = 0
var _now_ms = 0


# sockets: a script whose instances have open, poll, send, receive, close. options: address, token,
# token_file, tls_ca, connect_s, reconnect_s. hello: the fields of Hello; behaviours may be added to
# it later.
func _init(sockets, options, hello):
	_sockets = sockets
	_options = options
	_hello = hello
	_silence = Silence.new(sockets, options)


func poll(now_ms):
	_now_ms = now_ms
	if _state == PAUSING and now_ms >= _dial_at_ms:
		_dial()
	elif _state != PAUSING and _state != ENDED:
		_listen()
	if _state == RUNNING:
		_watch_silence()


func is_ended():
	return _state == ENDED


# True once for each new session: all agents begin anew.
func take_beginning():
	var has_begun = _has_begun
	_has_begun = false
	return has_begun


# The Act of the Step that was sent, once it is there; else null.
func take_act():
	var act = _act
	_act = null
	return act


func send_step(said):
	_sequence += 1
	said["sequence"] = _sequence
	_unanswered = Messages.step(said)
	_send_unanswered(true)


# Leave for good: say Goodbye, unless the connection is gone.
func end(code, words):
	if _state == ENDED:
		return
	if _socket != null and _state != DIALLING:
		_socket.send(Messages.goodbye(words if code != Refusals.DONE else ""))
		_socket.close()
	_state = ENDED
	exit_code = code
	last_words = words


# After `end`: whether the socket still has something to say.
func is_leaving(now_ms):
	_now_ms = now_ms
	if _socket == null:
		return false
	_socket.poll()
	return not _socket.is_closed()


func _dial():
	_state = DIALLING
	_limit_ms = _now_ms + DIAL_MS
	Options.renew_token(_options)
	_socket = _sockets.new()
	if not _socket.open(_options["address"] + "/simulate", _options):
		_break_off("it cannot be dialled: is its name known here?")


func _listen():
	_socket.poll()
	if _state == DIALLING and _socket.is_open():
		_state = GREETING
		_limit_ms = _now_ms + GREETING_MS
		_hello["resume_session_id"] = welcome["session_id"]
		declared = _hello["behaviours"].size()
		_socket.send(Messages.hello(_hello))
	while _state == GREETING or _state == RUNNING:
		var bytes = _socket.receive()
		if bytes == null:
			break
		_take(Messages.response(bytes))
	if _state == PAUSING or _state == ENDED:
		return
	if _socket.is_closed():
		_on_closed(_socket.close_code(), _socket.close_words())
	elif _state != RUNNING and _now_ms > _limit_ms:
		_break_off("it does not answer")


func _take(response):
	var kind = response["kind"]
	if kind == "close":
		_on_close(response)
	elif kind == "refusal":
		_on_refusal(response["code"], response["message"])
	elif kind == "welcome" and _state == GREETING:
		_on_welcome(response)
	elif kind == "act" and _state == RUNNING and _unanswered != null:
		_on_act(response)
	elif kind == "broken":
		end(Refusals.FAILED, "the trainer sent a message that cannot be read")
	else:
		end(Refusals.FAILED, "the trainer sent '%s', which was not expected" % kind)


func _on_welcome(found):
	if found["version"] != Messages.VERSION:
		end(Refusals.MISFIT, Refusals.other_version(found["version"], Messages.VERSION))
		return
	if _hello.get("role", 0) > 0 and found["revision"] < Messages.ROLES_REVISION:
		end(Refusals.MISFIT, Refusals.no_roles(found["revision"], Messages.ROLES_REVISION))
		return
	_state = RUNNING
	_joined_at_ms = _now_ms
	_has_stopped = false
	welcome = found
	parameters = found["environment_parameters"]
	if found["resumed"]:
		print("entrain: session %s resumed" % found["session_id"])
		if _unanswered != null:
			_send_unanswered(false)
		return
	_patience.renew()
	_sequence = 0
	_unanswered = null
	_act = null
	_has_begun = true


func _on_act(found):
	if found["sequence"] != _sequence:
		var words = "the trainer answered Step %d when Step %d was asked"
		end(Refusals.FAILED, words % [found["sequence"], _sequence])
		return
	_act = found
	_unanswered = null
	_patience.renew()
	var changed = found["changed_environment_parameters"]
	if changed.size() > 0:
		parameters = parameters.duplicate()
		for name in changed:
			parameters[name] = changed[name]


func _on_close(found):
	# Only a trainer that stops may come back. No reason, or one of the future, is an end.
	var may_come_back = found["reason"] == Messages.STOPPED and _options["reconnect_s"] > 0
	var words = found["message"]
	if words == "":
		words = "the trainer stops" if may_come_back else "the trainer is done"
	if may_come_back:
		_has_stopped = true
		_break_off(words)
	else:
		end(Refusals.DONE, words)


func _on_refusal(number, message):
	var code = Refusals.exit_code_of(number)
	if code == Refusals.AGAIN:
		_break_off(message)
		return
	# A Hello would be the same again; what a Step held, such as a NaN, need not come again.
	end(Refusals.FAILED if _state == RUNNING else code, "the trainer refuses this game: " + message)


func _on_closed(code, words):
	var number = Refusals.number_of(code)
	if number > 0:
		_on_refusal(number, words if words != "" else "it closed the connection with code %d" % code)
	elif _socket.refusal() != "":
		end(Refusals.MISFIT, _socket.refusal())
	else:
		# A Close may be lost behind the normal end that it announces: Godot 4 reads no message then.
		_has_stopped = _has_stopped or code == 1000
		_break_off("the connection ended" if words == "" else words)


func _send_unanswered(is_new):
	# A trainer that came back may take less than before.
	var longest = welcome["max_message_bytes"]
	if longest > 0 and _unanswered.size() > longest:
		end(Refusals.MISFIT, Refusals.too_long(_sequence, _unanswered.size(), longest))
		return
	_silence.begin(_now_ms, is_new)
	if _state == RUNNING:
		_socket.send(_unanswered)


# The stream is broken: dial again, until patience is over.
func _break_off(words):
	if _state == RUNNING and _now_ms - _joined_at_ms > HELD_MS:
		_patience.renew()
	if _socket != null:
		_socket.drop()
	_socket = null
	_state = PAUSING
	var which = "connect_s" if welcome["session_id"] == "" else "reconnect_s"
	_dial_at_ms = _patience.next_ms(_now_ms, _options[which])
	if _dial_at_ms < 0:
		_give_up(words)
	elif words != last_words:
		print("entrain: %s" % Refusals.away(_options["address"], words, welcome["session_id"] != ""))
	if _state == PAUSING:
		last_words = words


func _give_up(words):
	if _has_stopped:
		end(Refusals.DONE, "the trainer stopped and did not come back: " + words)
		return
	end(Refusals.FAILED, Refusals.nobody(_options["address"], words))


# A Step that stays without its Act for long: ask about it.
func _watch_silence():
	if _unanswered == null:
		return
	var asked = {"session_id": welcome["session_id"], "sequence": _sequence}
	asked["instance_id"] = _hello["instance_id"]
	var words = _silence.look(_now_ms, asked)
	if words != "":
		_break_off(words)
