# What Godot 3 and Godot 4 name differently, so that the files of core/ are the same for both.


static func ticks_ms():
	return OS.get_ticks_msec()


# The text of a file; null if there is none.
static func read_text(path):
	var file = File.new()
	if file.open(path, File.READ) != OK:
		return null
	var text = file.get_as_text()
	file.close()
	return text


# What a JSON text holds; null if it is none.
static func parse_json(text):
	var parsed = JSON.parse(text)
	return parsed.result if parsed.error == OK else null


static func is_bytes(value):
	return typeof(value) == TYPE_RAW_ARRAY


static func random_hex(count):
	return Crypto.new().generate_random_bytes(count).hex_encode()


static func base64url(text):
	var encoded = Marshalls.utf8_to_base64(text)
	return encoded.replace("+", "-").replace("/", "_").replace("=", "")


# Physics ticks a second, and how fast the game's time goes.
static func set_speed(ticks_per_second, scale):
	Engine.iterations_per_second = ticks_per_second
	Engine.time_scale = scale


static func physics_rate():
	return Engine.iterations_per_second


# What follows the program's name on its command line.
static func arguments():
	return OS.get_cmdline_args()


static func is_headless():
	return OS.has_feature("Server")


static func is_browser():
	return OS.get_name() == "HTML5"


# Begin to connect an HTTPClient; false if that cannot be done. Godot 3 knows no authority of a
# single connection, so nothing is asked where there is one.
static func connect_http(client, host, port, is_tls, tls_ca):
	return tls_ca == "" and client.connect_to_host(host, port, is_tls) == OK


# The headers of a request for a WebSocket.
static func upgrade_headers(protocol, further):
	var key = Marshalls.raw_to_base64(Crypto.new().generate_random_bytes(16))
	var own = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
	own += ["Sec-WebSocket-Key: " + key, "Sec-WebSocket-Protocol: " + protocol]
	return PoolStringArray(own + further)
