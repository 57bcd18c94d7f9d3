# A WebSocket of Godot 4: binary messages out and in, as core/session.gd uses it.

const PROTOCOL = "entrain.v1"
const BUFFER_BYTES = 8388608
# A limit, not memory that is taken. Beyond it nothing is sent, without a word.
const LONGEST_OUT_BYTES = 268435456
const MOST_MESSAGES = 64
const Platform = preload("platform.gd")
const Why = preload("core/why.gd")

var _peer = WebSocketPeer.new()
var _messages = []
var _is_open = false
var _is_closed = false
var _close_code = 0
var _close_words = ""
var _why = null
var _ask_why = []


# Dial; false if the address is none.
func open(url, options):
	_peer.inbound_buffer_size = BUFFER_BYTES
	_peer.outbound_buffer_size = LONGEST_OUT_BYTES
	_peer.max_queued_packets = MOST_MESSAGES
	var protocols = [PROTOCOL]
	var headers = []
	if options["token"] != "":
		if Platform.is_browser():
			protocols.append("entrain.token." + Platform.base64url(options["token"]))
		else:
			headers.append("Authorization: Bearer " + options["token"])
	_peer.supported_protocols = PackedStringArray(protocols)
	_peer.handshake_headers = PackedStringArray(headers)
	_ask_why = [url, Platform.upgrade_headers(PROTOCOL, headers), options["tls_ca"]]
	var tls = Platform.tls_options(options["tls_ca"]) if url.begins_with("wss://") else null
	var error = _peer.connect_to_url(url, tls)
	_is_closed = error != OK
	return error == OK


func poll():
	if _is_closed:
		return
	if _why != null:
		_poll_why()
		return
	_peer.poll()
	var state = _peer.get_ready_state()
	if state == WebSocketPeer.STATE_OPEN and not _is_open:
		_is_open = true
		_peer.set_no_delay(true)
	while _peer.get_available_packet_count() > 0:
		_messages.append(_peer.get_packet())
	if state == WebSocketPeer.STATE_CLOSED:
		_on_closed()


func send(bytes):
	if is_open():
		_peer.send(bytes)


# The next message; null if there is none yet.
func receive():
	return _messages.pop_front() if _messages.size() > 0 else null


# Say that nothing more is sent; `poll` until `is_closed`.
func close():
	if is_open():
		_peer.close(1000)


# Let go at once.
func drop():
	_is_closed = true
	_peer = WebSocketPeer.new()


func is_open():
	return _is_open and not _is_closed


func is_closed():
	return _is_closed


func close_code():
	return _close_code


func close_words():
	return _close_words


# Why the trainer did not take the connection, where another dial would bring the same.
func refusal():
	return "" if _why == null else _why.refusal


func _on_closed():
	if _is_open or Platform.is_browser():
		_close_code = _peer.get_close_code()
		_close_words = _peer.get_close_reason()
		_is_closed = true
	else:
		_why = Why.new(_ask_why[0], _ask_why[1], _ask_why[2])
		_is_closed = _why.is_done


func _poll_why():
	_why.poll()
	if _why.is_done:
		_close_words = _why.words
		_is_closed = true
