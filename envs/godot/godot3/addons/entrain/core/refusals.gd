# Why a session ends: what a refusal means (proto/README.md, "Refusals"), and words for people.

# Exit codes: what a trainer that launched this game is told.
const DONE = 0
const FAILED = 1
const MISFIT = 78
const AGAIN = -1

# gRPC's numbers; those after which another dial may help.
const RESOURCE_EXHAUSTED = 8
const DIAL_AGAIN = [1, 2, 4, 10, 13, 14]
# WebSocket's own codes for a message that was text, for too many messages and for one too long.
const OF_WEBSOCKET = {1003: 3, 1008: 8, 1009: 8}

# HTTP's statuses that a trainer answers a simulator by, to say what to change.
const OF_TRAINERS = [400, 401, 403, 429]


# gRPC's number that a WebSocket's close code stands for; 0 if none (proto/README.md, "Over
# WebSocket"). Godot 4 knows the code alone: it loses the refusal that came before.
static func number_of(close_code):
	if close_code > 4000 and close_code < 4100:
		return close_code - 4000
	return OF_WEBSOCKET.get(close_code, 0)


# The exit code of a game whose Hello is refused so; AGAIN if it is to dial again.
static func exit_code_of(number):
	if number == RESOURCE_EXHAUSTED:
		return FAILED
	return AGAIN if number in DIAL_AGAIN else MISFIT


# Where HTTP answers by a status that would come again; words: its number, and what was said.
static func answered(status, words):
	if status in OF_TRAINERS:
		return "the trainer refuses this game: " + words
	var usual = "what answers there is no trainer, or one without server.websocket (%s); check the "
	return (usual + "address") % words


# Where a Step is longer than the trainer takes.
static func too_long(sequence, size, longest):
	var words = "Step %d has %d bytes, and the trainer takes messages of up to %d; use fewer "
	words += "agents or smaller images, or raise server.max_message_mib of the trainer"
	return words % [sequence, size, longest]


static func other_version(theirs, ours):
	var words = "the trainer chose protocol %d, and this addon speaks %d; use the addon of the "
	return (words + "trainer's version") % [theirs, ours]


# Where a kind of agent comes that this trainer cannot be told of any more.
static func too_old_for(behaviour):
	var words = "behaviour '%s' comes after this game has joined, which this trainer is too old "
	words += "for; let an agent of every policy_name be there when the scene begins, or upgrade the "
	return (words + "trainer") % behaviour


# Where a trainer would not know that this game is for evaluations.
static func no_roles(revision, needed):
	var words = "this is a trainer of revision %d, which would learn from this game instead of "
	words += "evaluating in it; upgrade entrain there, to revision %d or later"
	return words % [revision, needed]


# Where it is dialled again.
static func away(address, why, has_joined):
	var words = "no connection with the trainer at %s (%s); dialling again" % [address, why]
	if has_joined:
		return words
	words += ". Usual causes: the trainer is not running; its option server.websocket is off or "
	return words + "another address (server.address is that of gRPC)"


# Where nobody answered.
static func nobody(address, why):
	var usual = "no trainer answers at %s (%s). Usual causes: it is not running; its option "
	usual += "server.websocket is off or has another address; one side uses TLS and the other "
	usual += "does not, or does not trust its certificate"
	return usual % [address, why]
