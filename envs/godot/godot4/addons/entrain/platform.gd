# What Godot 3 and Godot 4 name differently, so that the files of core/ are the same for both.

static func ticks_ms():
	return Time.get_ticks_msec()


# The text of a file; null if there is none.
static func read_text(path):
	var file = FileAccess.open(path, FileAccess.READ)
	return null if file == null else file.get_as_text()


# What a JSON text holds; null if it is none.
static func parse_json(text):
	var json = JSON.new()
	return json.data if json.parse(text) == OK else null


static func is_bytes(value):
	return typeof(value) == TYPE_PACKED_BYTE_ARRAY


static func random_hex(count):
	return Crypto.new().generate_random_bytes(count).hex_encode()


static func base64url(text):
	var encoded = Marshalls.utf8_to_base64(text)
	return encoded.replace("+", "-").replace("/", "_").replace("=", "")


# Physics ticks a second, and how fast the game's time goes.
static func set_speed(ticks_per_second, scale):
	Engine.physics_ticks_per_second = ticks_per_second
	Engine.time_scale = scale


static func physics_rate():
	return Engine.physics_ticks_per_second


# What follows the program's name on its command line, also behind "--".
static func arguments():
	return OS.get_cmdline_args() + OS.get_cmdline_user_args()


static func is_headless():
	return DisplayServer.get_name() == "headless"


static func is_browser():
	return OS.get_name() == "Web"


# The TLS of a connection that trusts this authority, or those of the system.
static func tls_options(tls_ca):
	var authority = X509Certificate.new()
	if tls_ca == "" or authority.load(tls_ca) != OK:
		return TLSOptions.client()
	return TLSOptions.client(authority)


# Begin to connect an HTTPClient; false if that cannot be done.
static func connect_http(client, host, port, is_tls, tls_ca):
	return client.connect_to_host(host, port, tls_options(tls_ca) if is_tls else null) == OK


# The headers of a request for a WebSocket.
static func upgrade_headers(protocol, further):
	var key = Marshalls.raw_to_base64(Crypto.new().generate_random_bytes(16))
	var own = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
	own += ["Sec-WebSocket-Key: " + key, "Sec-WebSocket-Protocol: " + protocol]
	return PackedStringArray(own + further)
