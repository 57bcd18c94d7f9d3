# Asks by plain HTTP why a trainer did not take a WebSocket, which Godot's classes do not tell.

const Platform = preload("../platform.gd")
const Refusals = preload("refusals.gd")

const LONGEST_MS = 3000
const MOST_WORDS = 1000
const SWITCHING = 101
const TIMED_OUT = 408
const FROM_SERVER = 500

# What the trainer said; "" if nothing, or not yet.
var words = ""
# The same as why the game ends, where another dial would only bring it again; else "".
var refusal = ""
var is_done = false

var _client = HTTPClient.new()
var _path
var _headers
var _has_asked = false
var _until_ms = Platform.ticks_ms() + LONGEST_MS
var _body = StreamPeerBuffer.new()


# headers: those of the WebSocket that was refused.
func _init(url, headers, tls_ca):
	var is_tls = url.begins_with("wss://")
	var rest = url.substr(url.find("://") + 3, url.length())
	var slash = rest.find("/")
	var authority = rest.substr(0, slash)
	_path = rest.substr(slash, rest.length())
	_headers = headers
	var colon = authority.rfind(":")
	var port = 443 if is_tls else 80
	if colon >= 0 and not authority.ends_with("]"):
		port = int(authority.substr(colon + 1, authority.length()))
		authority = authority.substr(0, colon)
	var host = authority.replace("[", "").replace("]", "")
	is_done = not Platform.connect_http(_client, host, port, is_tls, tls_ca)


func poll():
	_client.poll()
	var status = _client.get_status()
	if status == HTTPClient.STATUS_CONNECTED and not _has_asked:
		_has_asked = true
		_client.request(HTTPClient.METHOD_GET, _path, _headers)
	elif status == HTTPClient.STATUS_BODY:
		_body.put_data(_client.read_response_body_chunk())
	elif not (
		status
		in [HTTPClient.STATUS_RESOLVING, HTTPClient.STATUS_CONNECTING, HTTPClient.STATUS_REQUESTING]
	):
		is_done = true
	is_done = is_done or Platform.ticks_ms() > _until_ms
	if is_done and _client.has_response() and _client.get_response_code() != SWITCHING:
		var code = _client.get_response_code()
		var said = _body.data_array.get_string_from_utf8().strip_edges().left(MOST_WORDS)
		words = "%d: %s" % [code, said]
		# Another dial would bring the same; proto/README.md, "Over WebSocket".
		if code < FROM_SERVER and code != TIMED_OUT:
			refusal = Refusals.answered(code, words)
