# The messages of the wire contract: dictionaries to bytes, and bytes to dictionaries.
#
# Keys are the field names of proto/entrain/v1/trainer.proto. Knows no sockets and no order.

const Reader = preload("reader.gd")
const Writer = preload("writer.gd")

const VERSION = 1
const FIRST = 1
const MID = 2
const TERMINATED = 3
const TRUNCATED = 4
const COMPLETED = 1
const STOPPED = 2
const NOT_HELD = 1
const HELD = 2
const ANSWERED = 3
# What a simulator's agents are for; trainers of earlier revisions than that learn from everyone.
const ROLES = {"training": 0, "evaluation": 1}
const ROLES_REVISION = 3


# A ConnectRequest with a Hello.
static func hello(said):
	var writer = Writer.new()
	writer.uint(1, said.get("min_version", VERSION))
	writer.uint(2, said.get("max_version", VERSION))
	writer.text(3, said.get("simulator", ""))
	writer.text(4, said.get("instance_id", ""))
	for spec in said.get("behaviours", []):
		writer.message(5, _spec(spec))
	writer.uint(6, said.get("max_agents", 0))
	writer.text(7, said.get("resume_session_id", ""))
	writer.uint(8, said.get("max_unanswered_steps", 0))
	writer.uint(9, said.get("role", 0))
	return _request(1, writer)


# A ConnectRequest with a Step. The arrays of its behaviours are bytes already.
static func step(said):
	var writer = Writer.new()
	writer.uint(1, said.get("sequence", 0))
	for rows in said.get("behaviours", []):
		writer.message(2, _rows(rows))
	for spec in said.get("new_behaviours", []):
		writer.message(3, _spec(spec))
	for statistic in said.get("statistics", []):
		var noted = Writer.new()
		noted.text(1, statistic.get("name", ""))
		noted.uint(2, statistic.get("aggregation", 0))
		noted.packed_doubles(3, statistic.get("values", []))
		writer.message(4, noted)
	return _request(2, writer)


# A ConnectRequest with a Goodbye.
static func goodbye(reason):
	var writer = Writer.new()
	writer.text(1, reason)
	return _request(3, writer)


# An InquireRequest.
static func inquire(said):
	var writer = Writer.new()
	writer.text(1, said.get("session_id", ""))
	writer.text(2, said.get("instance_id", ""))
	writer.uint(3, said.get("sequence", 0))
	return writer.bytes()


# The standing that an InquireResponse has; 0 if it is none.
static func standing(bytes):
	var reader = Reader.new(bytes)
	var number = 0
	while reader.next():
		if reader.field == 1:
			number = reader.uint()
	return 0 if reader.is_broken else number


# What a ConnectResponse holds: its fields, and which it is in "kind": welcome, act, close, refusal,
# "" if none that is known, or broken.
static func response(bytes):
	var reader = Reader.new(bytes)
	var found = {"kind": ""}
	while reader.next():
		var content = Reader.new(reader.bytes())
		match reader.field:
			1:
				found = _welcome(content)
			2:
				found = _act(content)
			3:
				found = _words(content, "close", "reason")
			4:
				found = _words(content, "refusal", "code")
		if content.is_broken:
			return {"kind": "broken"}
	return {"kind": "broken"} if reader.is_broken else found


static func _request(field, content):
	var writer = Writer.new()
	writer.message(field, content)
	return writer.bytes()


static func _spec(spec):
	var writer = Writer.new()
	writer.text(1, spec.get("name", ""))
	for observation in spec.get("observations", []):
		var described = Writer.new()
		described.text(1, observation.get("name", ""))
		described.packed_uints(2, observation.get("shape", []))
		described.uint(3, observation.get("dtype", 0))
		described.uint(4, observation.get("kind", 0))
		described.packed_doubles(5, observation.get("low", []))
		described.packed_doubles(6, observation.get("high", []))
		writer.message(2, described)
	if spec.has("action"):
		var action = Writer.new()
		action.packed_floats(1, spec["action"].get("low", []))
		action.packed_floats(2, spec["action"].get("high", []))
		action.packed_uints(3, spec["action"].get("branches", []))
		writer.message(3, action)
	writer.uint(4, spec.get("deadline_ms", 0))
	writer.uint(5, spec.get("fallback", 0))
	return writer


static func _rows(rows):
	var nothing = StreamPeerBuffer.new().data_array
	var writer = Writer.new()
	writer.text(1, rows.get("behaviour", ""))
	writer.data(2, rows.get("agent_id", nothing))
	writer.data(3, rows.get("step_type", nothing))
	writer.data(4, rows.get("reward", nothing))
	for observation in rows.get("observations", []):
		writer.item(5, observation)
	writer.data(6, rows.get("action_mask", nothing))
	writer.data(7, rows.get("group_id", nothing))
	writer.data(8, rows.get("group_reward", nothing))
	writer.data(9, rows.get("late", nothing))
	return writer


static func _welcome(reader):
	var found = {"kind": "welcome", "version": 0, "session_id": "", "run_id": "", "seed": 0}
	found["environment_parameters"] = {}
	found["max_unanswered_steps"] = 0
	found["resumed"] = false
	found["grace_s"] = 0.0
	found["max_message_bytes"] = 0
	found["revision"] = 0
	while reader.next():
		match reader.field:
			1:
				found["version"] = reader.uint()
			2:
				found["session_id"] = reader.text()
			3:
				found["run_id"] = reader.text()
			4:
				found["seed"] = reader.uint()
			5:
				_put_parameter(found["environment_parameters"], reader)
			6:
				found["max_unanswered_steps"] = reader.uint()
			7:
				found["resumed"] = reader.uint() != 0
			8:
				found["grace_s"] = reader.real()
			9:
				found["max_message_bytes"] = reader.uint()
			10:
				found["revision"] = reader.uint()
	return found


static func _act(reader):
	var found = {"kind": "act", "sequence": 0, "behaviours": []}
	found["changed_environment_parameters"] = {}
	while reader.next():
		match reader.field:
			1:
				found["sequence"] = reader.uint()
			2:
				found["behaviours"].append(_actions(reader))
			3:
				_put_parameter(found["changed_environment_parameters"], reader)
	return found


static func _actions(outer):
	var reader = Reader.new(outer.bytes())
	var found = {"behaviour": "", "continuous": [], "discrete": [], "policy_version": 0}
	while reader.next():
		match reader.field:
			1:
				found["behaviour"] = reader.text()
			2:
				found["continuous"] = _floats(_whole(reader))
			3:
				found["discrete"] = _ints(_whole(reader))
			4:
				found["policy_version"] = reader.uint()
	outer.is_broken = outer.is_broken or reader.is_broken
	return found


static func _put_parameter(parameters, outer):
	var reader = Reader.new(outer.bytes())
	var name = ""
	var value = 0.0
	while reader.next():
		match reader.field:
			1:
				name = reader.text()
			2:
				value = reader.real()
	outer.is_broken = outer.is_broken or reader.is_broken
	parameters[name] = value


static func _words(reader, kind, number):
	var found = {"kind": kind, "message": ""}
	found[number] = 0
	while reader.next():
		match reader.field:
			1:
				found[number] = reader.uint()
			2:
				found["message"] = reader.text()
	return found


# The bytes of an array of numbers of four bytes each.
static func _whole(reader):
	reader.is_broken = reader.is_broken or reader.bytes().size() % 4 != 0
	return reader.bytes()


static func _floats(bytes):
	var buffer = StreamPeerBuffer.new()
	buffer.data_array = bytes
	var values = []
	for _each in range(bytes.size() >> 2):
		values.append(buffer.get_float())
	return values


static func _ints(bytes):
	var buffer = StreamPeerBuffer.new()
	buffer.data_array = bytes
	var values = []
	for _each in range(bytes.size() >> 2):
		values.append(buffer.get_32())
	return values
