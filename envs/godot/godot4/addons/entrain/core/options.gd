# What a game is told from outside: by its command line, by a trainer that launched it, by its node.

const Messages = preload("messages.gd")
const Platform = preload("../platform.gd")

# Of EntrainSync.ControlModes.
const INFERENCE = 2
const CONNECT_S = 300.0
const RECONNECT_S = 60.0


# The options of a session and of training. node: an EntrainSync.
static func read(node, arguments):
	var name = str(ProjectSettings.get_setting("application/config/name"))
	var options = {
		"address": _first(OS.get_environment("ENTRAIN_WEBSOCKET"), node.address),
		"simulator": _first(OS.get_environment("ENTRAIN_SIMULATOR"), node.simulator, name),
		"token": OS.get_environment("ENTRAIN_TOKEN"),
		"token_file": _first(OS.get_environment("ENTRAIN_TOKEN_FILE"), node.token_file),
		"tls_ca": _first(OS.get_environment("ENTRAIN_TLS_CA"), node.tls_ca),
		"connect_s": CONNECT_S,
		"reconnect_s": RECONNECT_S,
		"policy_path": node.policy_path if node.control_mode == INFERENCE else "",
		"role": _first(OS.get_environment("ENTRAIN_ROLE"), node.role),
		"action_repeat": node.action_repeat,
		"speed_up": node.speed_up,
		"longest_block_ms": -1 if Platform.is_headless() else node.longest_block_ms,
	}
	var patience = OS.get_environment("ENTRAIN_RECONNECT_S")
	if patience != "":
		options["reconnect_s"] = float(patience)
	if options["token_file"] != "":
		options["token"] = ""
		renew_token(options)
	for argument in arguments:
		_take(options, argument)
	if options["address"].find("://") < 0:
		options["address"] = "ws://" + options["address"]
	options["address"] = options["address"].rstrip("/").trim_suffix("/simulate").rstrip("/")
	return options


# Read the token's file again, which may have changed. While it is empty, or is not there, the token
# that was read before counts.
static func renew_token(options):
	if options["token_file"] != "":
		var token = _first_line(options["token_file"])
		if token != "":
			options["token"] = token


# What is wrong with them; "" if nothing.
static func problem_of(options):
	if options["action_repeat"] < 1:
		return "action_repeat is %d; expected 1 physics tick or more" % options["action_repeat"]
	if options["policy_path"] != "":
		return ""
	if not options["speed_up"] > 0.0:
		return "speed_up is %s; expected more than 0, and 1 for real time" % options["speed_up"]
	if not (options["address"].begins_with("ws://") or options["address"].begins_with("wss://")):
		var words = "%s is no address of a trainer; expected ws://HOST:PORT or wss://HOST:PORT"
		return words % options["address"]
	if not Messages.ROLES.has(options["role"]):
		return "role is '%s'; it must be training or evaluation" % options["role"]
	if options["token_file"] != "" and options["token"] == "":
		var words = "the token file %s cannot be read, or is empty; its first line must be the token"
		return words % options["token_file"]
	return ""


# The fields of a new simulator's Hello. behaviours: an array that may grow later.
static func hello(options, behaviours):
	return {
		"min_version": Messages.VERSION,
		"max_version": Messages.VERSION,
		"simulator": options["simulator"],
		"instance_id": Platform.random_hex(16),
		"behaviours": behaviours,
		"max_unanswered_steps": 1,
		"role": Messages.ROLES.get(options["role"], 0),
	}


# --address=URL, --policy=PATH, --role=NAME, --speedup=N, --action_repeat=N, --longest_block_ms=N.
static func _take(options, argument):
	var value = argument.substr(argument.find("=") + 1, argument.length())
	if argument.begins_with("--address="):
		options["address"] = value
	elif argument.begins_with("--policy="):
		options["policy_path"] = value
	elif argument.begins_with("--role="):
		options["role"] = value
	elif argument.begins_with("--speedup="):
		options["speed_up"] = float(value)
	elif argument.begins_with("--longest_block_ms="):
		options["longest_block_ms"] = int(value)
	elif argument.begins_with("--action_repeat="):
		options["action_repeat"] = int(value)


static func _first_line(path):
	var text = Platform.read_text(path)
	return "" if text == null else text.split("\n")[0].strip_edges()


static func _first(one, two, three = ""):
	if one != "":
		return one
	return two if two != "" else three
