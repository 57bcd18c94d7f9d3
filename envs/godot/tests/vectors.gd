# Compares the addon's messages with the bytes of proto/vectors: one script for both Godots.
#
#     godot3-server --path envs/godot/godot3 -s ../tests/vectors.gd --vectors=FOLDER
#
# Prints a line for each difference, then how many vectors there were; ends with 0 if all agree.
extends SceneTree

const ENUMS = {
	"DTYPE_FLOAT32": 1,
	"DTYPE_UINT8": 2,
	"OBSERVATION_KIND_VECTOR": 1,
	"OBSERVATION_KIND_IMAGE": 2,
	"OBSERVATION_KIND_ENTITIES": 3,
	"OBSERVATION_KIND_GOAL": 4,
	"AGGREGATION_MEAN": 1,
	"AGGREGATION_LAST": 2,
	"AGGREGATION_SUM": 3,
	"AGGREGATION_HISTOGRAM": 4,
	"ROLE_EVALUATION": 1,
	"FALLBACK_LAST_ACTION": 1,
	"FALLBACK_NEUTRAL": 2,
	"FALLBACK_CONTROLLER": 3,
	"CLOSE_REASON_COMPLETED": 1,
	"CLOSE_REASON_STOPPED": 2,
	"STEP_STANDING_NOT_HELD": 1,
	"STEP_STANDING_HELD": 2,
	"STEP_STANDING_ANSWERED": 3,
	"-Infinity": -INF,
	"Infinity": INF,
}

var acts = load("res://addons/entrain/core/acts.gd")
var messages = load("res://addons/entrain/core/messages.gd")
var platform = load("res://addons/entrain/platform.gd")
var differences = 0
var compared = 0
var specs = {}


func _init():
	var folder = "proto/vectors"
	for argument in platform.arguments():
		if argument.begins_with("--vectors="):
			folder = argument.replace("--vectors=", "")
	for vector in vectors_of(folder + "/from_simulator.json"):
		compare(vector["name"], written(vector["fields"]), vector["bytes"])
	for file in ["/from_trainer.json", "/tolerated.json"]:
		for vector in vectors_of(folder + file):
			if vector["message"] == "ConnectResponse":
				check_reading(vector)
	for vector in vectors_of(folder + "/malformed.json"):
		if vector["message"] == "ConnectResponse":
			compare(vector["name"], messages.response(from_hex(vector["bytes"]))["kind"], "broken")
	for vector in vectors_of(folder + "/refused.json"):
		check_refusal(vector)
	for vector in vectors_of(folder + "/inquire.json"):
		check_inquiry(vector)
	print("%d vectors, %d differences" % [compared, differences])
	quit(0 if compared > 0 and differences == 0 else 1)


func vectors_of(path):
	var content = platform.parse_json(platform.read_text(path))
	specs = content.get("specs", {})
	return content["vectors"]


func compare(name, arrived, expected):
	compared += 1
	if str(arrived) != str(expected):
		differences += 1
		print("%s: %s; expected %s" % [name, arrived, expected])


# The hexadecimal bytes of a ConnectRequest.
func written(fields):
	if fields.has("hello"):
		return messages.hello(prepared(fields["hello"])).hex_encode()
	if fields.has("goodbye"):
		return messages.goodbye(fields["goodbye"].get("reason", "")).hex_encode()
	var said = prepared(fields["step"])
	for rows in said.get("behaviours", []):
		pack(rows)
	return messages.step(said).hex_encode()


func pack(rows):
	for key in ["agent_id", "group_id"]:
		if rows.has(key):
			rows[key] = packed(rows[key], "put_64")
	for key in ["reward", "group_reward"]:
		if rows.has(key):
			rows[key] = packed(rows[key], "put_float")
	for key in ["step_type", "action_mask", "late"]:
		if rows.has(key):
			rows[key] = packed(rows[key], "put_u8")
	var observations = rows.get("observations", [])
	for index in range(observations.size()):
		var dtype = specs[rows["behaviour"]]["observations"][index]["dtype"]
		var method = "put_u8" if dtype == "DTYPE_UINT8" else "put_float"
		observations[index] = packed(observations[index], method)


func packed(values, method):
	var buffer = StreamPeerBuffer.new()
	for value in values:
		buffer.call(method, float(value) if method == "put_float" else int(value))
	return buffer.data_array


# The fields with numbers in place of the names and texts that JSON has for them.
func prepared(value, key = ""):
	if typeof(value) == TYPE_DICTIONARY:
		var dictionary = {}
		for each in value:
			dictionary[each] = prepared(value[each], each)
		return dictionary
	if typeof(value) == TYPE_ARRAY:
		var array = []
		for each in value:
			array.append(prepared(each, key))
		return array
	if typeof(value) == TYPE_STRING:
		var is_number = key in ["sequence", "agent_id", "group_id"]
		return unsigned(value) if is_number else ENUMS.get(value, value)
	if typeof(value) == TYPE_BOOL or key in ["low", "high", "values", "reward", "observations"]:
		return value
	return int(value) if float(value) == floor(value) else value


# A uint64 from its decimal digits, as the int that has the same bits.
func unsigned(digits):
	var is_negative = digits.begins_with("-")
	var number = 0
	for digit in digits.replace("-", ""):
		number = number * 10 + int(digit)
	return -number if is_negative else number


func check_reading(vector):
	var found = messages.response(from_hex(vector["bytes"]))
	var kind = ""
	var expected = {}
	for each in vector["fields"]:
		kind = each
		expected = prepared(vector["fields"][each])
	compare(vector["name"], found["kind"], kind)
	for key in expected:
		var value = expected[key]
		if key == "behaviours":
			for index in range(value.size()):
				for part in value[index]:
					var wanted = value[index][part]
					compare_value(vector["name"], found[key][index][part], wanted)
		elif key == "seed" or key == "max_message_bytes":
			compare(vector["name"], found[key], unsigned(str(value)))
		else:
			compare_value(vector["name"], found[key], value)


func compare_value(name, arrived, expected):
	if typeof(expected) == TYPE_ARRAY:
		compare(name, arrived.size(), expected.size())
		for index in range(expected.size()):
			compare(name, float(arrived[index]), float(expected[index]))
	elif typeof(expected) == TYPE_DICTIONARY:
		for key in expected:
			compare(name, float(arrived[key]), float(expected[key]))
	elif typeof(expected) == TYPE_STRING and typeof(arrived) != TYPE_STRING:
		compare(name, arrived, unsigned(expected))
	elif typeof(expected) in [TYPE_STRING, TYPE_BOOL]:
		compare(name, arrived, expected)
	else:
		compare(name, float(arrived), float(expected))


func check_inquiry(vector):
	if vector["message"] == "InquireRequest":
		var bytes = messages.inquire(prepared(vector["fields"]))
		compare(vector["name"], bytes.hex_encode(), vector["bytes"])
		return
	var standing = prepared(vector["fields"]).get("standing", 0)
	compare(vector["name"], messages.standing(from_hex(vector["bytes"])), standing)


func from_hex(digits):
	var buffer = StreamPeerBuffer.new()
	for index in range(0, digits.length(), 2):
		buffer.put_u8(("0x" + digits.substr(index, 2)).hex_to_int())
	return buffer.data_array


# Actions that do not fit their rows: "" would be that they do.
func check_refusal(vector):
	if vector["message"] != "ConnectResponse":
		return
	var act = messages.response(from_hex(vector["bytes"]))
	var part = vector["fields"]["act"]["behaviours"][0]
	var problem = "unreadable"
	if act["kind"] == "act":
		var spec = prepared(specs[part["behaviour"]])
		for key in ["low", "high", "branches"]:
			spec["action"][key] = spec["action"].get(key, [])
		var rows = int(vector["rows_that_need_an_action"])
		problem = acts.problem_of(spec, rows, acts.part_of(act, part["behaviour"]))
	compare(vector["name"] + " is refused", problem != "", true)
