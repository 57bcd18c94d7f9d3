# Leads core/session.gd through what can befall a connection, with sockets and a clock of its own.
#
# Prints a line of JSON for each scenario; tests/clients/test_godot_session.py knows what to expect.
extends SceneTree

const Messages = preload("res://addons/entrain/core/messages.gd")
const Options = preload("res://addons/entrain/core/options.gd")
const Session = preload("res://addons/entrain/core/session.gd")
const Writer = preload("res://addons/entrain/core/writer.gd")

const MINUTE_MS = 60000
const TOKEN_FILE = "user://token"


# The trainer, and the way to it.
class Network:
	var is_up = true
	var knows_session = true
	# What /inquire answers: bytes, a close code, or words by HTTP. All empty: nothing at all.
	var standing = null
	var inquire_code = 0
	var inquire_refusal = ""
	# What a Hello is answered by, instead of a Welcome: a close code.
	var hello_code = 0
	var longest = 0
	# Of each dial: when, its path and the token.
	var dials = []
	var steps = 0
	var now_ms = 0
	var open = null


class Line:
	var _network = Engine.get_meta("network")
	var _path = ""
	var _inbox = []
	var _is_closed = false
	var _close_code = 0
	var _refusal = ""

	func open(url, options):
		_path = url.substr(url.rfind("/"), url.length())
		_network.dials.append([_network.now_ms, _path, options["token"]])
		if _path == "/simulate":
			_network.open = self
		return true

	func poll():
		if not _network.is_up:
			end(1006)
		elif _path == "/inquire" and _network.inquire_refusal != "":
			_refusal = _network.inquire_refusal
			end(0)

	func send(bytes):
		if _path == "/inquire":
			_answer_inquiry()
		elif bytes.hex_encode().begins_with("0a") and _network.hello_code > 0:
			end(_network.hello_code)
		elif bytes.hex_encode().begins_with("0a"):
			_inbox.append(Engine.get_meta("main").welcome(_network.knows_session))
		elif bytes.hex_encode().begins_with("12"):
			_network.steps += 1

	func _answer_inquiry():
		if _network.standing != null:
			_inbox.append(_network.standing)
		elif _network.inquire_code > 0:
			end(_network.inquire_code)

	func say(bytes):
		_inbox.append(bytes)

	func end(code):
		_is_closed = true
		_close_code = code

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
		return _close_code

	func close_words():
		return ""

	func refusal():
		return _refusal


var network
var session


func _init():
	Engine.set_meta("main", self)
	for method in get_method_list():
		if method["name"].begins_with("scenario_"):
			begin("")
			call(method["name"])
			say(method["name"].replace("scenario_", ""))
	for code in [1000, 1001, 1002, 1003, 1008, 1009, 1011, 4003, 4007, 4008, 4010, 4014, 4016]:
		begin("")
		network.open.end(code)
		run(network.now_ms + 100)
		say("closed-%d" % code)
	for code in [1003, 1008, 1009, 4003, 4007, 4008, 4016]:
		begin("")
		network.hello_code = code
		break_off()
		say("hello-closed-%d" % code)
	for reason in [0, 1, 2, 9]:
		begin("")
		network.open.say(close(reason))
		run(network.now_ms + 100)
		say("close-%d" % reason)
	quit()


# A session with a Step that waits.
func begin(token_file):
	network = Network.new()
	Engine.set_meta("network", network)
	var options = {"address": "ws://t:1", "connect_s": 300.0, "reconnect_s": 60.0}
	options["token"] = "first"
	options["token_file"] = token_file
	session = Session.new(Line, options, {"instance_id": "i", "behaviours": []})
	network.knows_session = false
	run(300)
	network.knows_session = true
	session.take_beginning()
	session.send_step({})


# Lets so much time pass, in steps of a tenth of a second.
func run(until_ms):
	while network.now_ms < until_ms:
		network.now_ms += 100
		session.poll(network.now_ms)


func break_off():
	network.open.end(1006)
	run(network.now_ms + 5000)


func say(name):
	var dials = []
	var inquiries = []
	for dial in network.dials:
		(inquiries if dial[1] == "/inquire" else dials).append([dial[0], dial[2]])
	var told = {"exit_code": session.exit_code, "words": session.last_words}
	told["is_ended"] = session.is_ended()
	told["at_s"] = network.now_ms / 1000.0
	told["is_running"] = session._state == Session.RUNNING
	told["dials"] = dials
	told["inquiries"] = inquiries
	told["steps"] = network.steps
	print("scenario ", JSON.print([name, told]))


# A ConnectResponse.
func response(field, content):
	var writer = Writer.new()
	writer.message(field, content)
	return writer.bytes()


func welcome(is_resumed):
	var writer = Writer.new()
	writer.uint(1, Messages.VERSION)
	writer.text(2, "s1")
	writer.uint(7, 1 if is_resumed else 0)
	writer.uint(9, network.longest)
	writer.uint(10, 3)
	return response(1, writer)


func close(reason):
	var writer = Writer.new()
	writer.uint(1, reason)
	return response(3, writer)


func standing(number):
	var writer = Writer.new()
	writer.uint(1, number)
	return writer.bytes()


# The Step waits for an hour between two breaks.
func scenario_second_break():
	network.standing = standing(Messages.HELD)
	break_off()
	run(60 * MINUTE_MS)
	break_off()


# The trainer stops twice, an hour apart, and comes back both times.
func scenario_second_stop():
	network.standing = standing(Messages.HELD)
	for _each in range(2):
		network.open.say(close(Messages.STOPPED))
		run(network.now_ms + 60 * MINUTE_MS)


# Each stream breaks after a second.
func scenario_breaks_always():
	while network.now_ms < 10 * MINUTE_MS and not session.is_ended():
		run(network.now_ms + 1000)
		network.open.end(1006)


# The same, while no Step waits.
func scenario_breaks_while_idle():
	session._unanswered = null
	while network.now_ms < 10 * MINUTE_MS and not session.is_ended():
		run(network.now_ms + 100)
		network.open.end(1006)


# The trainer ends the connection tidily, and is not there any more.
func scenario_left_tidily():
	network.hello_code = 4014
	network.open.end(1000)
	run(network.now_ms + 2 * MINUTE_MS)


# The same, but the connection breaks.
func scenario_left_by_a_break():
	network.hello_code = 4014
	network.open.end(1006)
	run(network.now_ms + 2 * MINUTE_MS)


# The trainer comes back with less room for a message.
func scenario_too_long_again():
	network.longest = 3
	break_off()


func scenario_silent_not_held():
	network.standing = standing(Messages.NOT_HELD)
	run(10 * MINUTE_MS)


func scenario_silent_held():
	network.standing = standing(Messages.HELD)
	run(10 * MINUTE_MS)


func scenario_silent_no_answer():
	run(MINUTE_MS)


func scenario_silent_refused_by_http():
	network.inquire_refusal = "401: a wrong token"
	run(10 * MINUTE_MS)


func scenario_silent_refused():
	network.inquire_code = 4016
	run(10 * MINUTE_MS)


func scenario_silent_too_many():
	network.inquire_code = 1008
	run(10 * MINUTE_MS)


func scenario_silent_unavailable():
	network.inquire_code = 4014
	run(MINUTE_MS)


func scenario_silent_unreadable():
	network.standing = response(1, Writer.new())
	run(10 * MINUTE_MS)


func scenario_silent_unknown():
	network.standing = standing(7)
	run(10 * MINUTE_MS)


# The token's file is renewed, is empty for a moment, and is gone; then an inquiry.
func scenario_token_renewed():
	write_token("one\n")
	begin(TOKEN_FILE)
	write_token("two\n")
	break_off()
	write_token("")
	break_off()
	Directory.new().remove(TOKEN_FILE)
	break_off()
	write_token("three\n")
	network.standing = standing(Messages.HELD)
	run(network.now_ms + MINUTE_MS)


func write_token(text):
	var file = File.new()
	file.open(TOKEN_FILE, File.WRITE)
	file.store_string(text)
	file.close()


func scenario_not_a_message():
	# An Act that says to be 5 bytes long, of which none is there.
	var buffer = StreamPeerBuffer.new()
	buffer.put_u8(0x12)
	buffer.put_u8(5)
	network.open.say(buffer.data_array)
	run(network.now_ms + 100)
