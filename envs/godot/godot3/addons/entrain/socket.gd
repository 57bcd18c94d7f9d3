# A WebSocket of Godot 3: binary messages out and in, as core/session.gd uses it.

const PROTOCOL = "entrain.v1"
const BUFFER_KIB = 8192
const MOST_MESSAGES = 64
const Platform = preload("platform.gd")
const Why = preload("core/why.gd")

var _client = WebSocketClient.new()
var _messages = []
var _is_open = false
var _is_closed = false
var _close_code = 0
var _close_words = ""
var _why = null
var _ask_why = []


# Dial; false if the address is none.
func open(url, options):
	_client.connect("connection_established", self, "_on_open")
	_client.connect("data_received", self, "_on_data")
	_client.connect("connection_error", self, "_on_error")
	_client.connect("connection_closed", self, "_on_closed")
	_client.connect("server_close_request", self, "_on_close_request")
	_client.set_buffers(BUFFER_KIB, MOST_MESSAGES, BUFFER_KIB, MOST_MESSAGES)
	if options["tls_ca"] != "":
		var authority = X509Certificate.new()
		if authority.load(options["tls_ca"]) == OK:
			_client.trusted_ssl_certificate = authority
	var protocols = [PROTOCOL]
	var headers = []
	if options["token"] != "":
		if Platform.is_browser():
			protocols.append("entrain.token." + Platform.base64url(options["token"]))
		else:
			headers.append("Authorization: Bearer " + options["token"])
	_ask_why = [url, Platform.upgrade_headers(PROTOCOL, headers), options["tls_ca"]]
	var error = _client.connect_to_url(
		url, PoolStringArray(protocols), false, PoolStringArray(headers)
	)
	_is_closed = error != OK
	return error == OK


func poll():
	if _is_closed:
		return
	if _why == null:
		_client.poll()
		return
	_why.poll()
	if _why.is_done:
		_close_words = _why.words
		_is_closed = true


func send(bytes):
	if is_open():
		_client.get_peer(1).put_packet(bytes)


# The next message; null if there is none yet.
func receive():
	return _messages.pop_front() if _messages.size() > 0 else null


# Say that nothing more is sent; `poll` until `is_closed`.
func close():
	if is_open():
		_client.disconnect_from_host(1000)


# Let go at once.
func drop():
	_is_closed = true
	_client = WebSocketClient.new()


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


func _on_open(_protocol):
	_is_open = true
	_client.get_peer(1).set_write_mode(WebSocketPeer.WRITE_MODE_BINARY)
	_client.get_peer(1).set_no_delay(true)


func _on_data():
	var peer = _client.get_peer(1)
	while peer.get_available_packet_count() > 0:
		_messages.append(peer.get_packet())


func _on_close_request(code, reason):
	_close_code = code
	_close_words = reason


func _on_error():
	if Platform.is_browser():
		_is_closed = true
	else:
		_why = Why.new(_ask_why[0], _ask_why[1], _ask_why[2])
		_is_closed = _why.is_done


func _on_closed(_was_clean):
	_is_closed = true
