# Notices that a Step stays without its Act, and asks about it on a second connection.
#
# Bytes that were lost on the way can leave both ends waiting for each other for ever. A Step that
# is sent again is counted once: giving a stream up by mistake costs time and nothing else.

const Inquiry = preload("inquiry.gd")
const Messages = preload("messages.gd")

const SILENCE_MS = 30000
const LOST_MS = 5000

var _sockets
var _options
var _inquiry = null
var _ask_at_ms = 0
var _lost_at_ms = -1
var _given_up = 0


func _init(sockets, options):
	_sockets = sockets
	_options = options


# A Step is sent, for the first time or again.
func begin(now_ms, is_new):
	_inquiry = null
	_lost_at_ms = -1
	if is_new:
		_given_up = 0
	# What takes longer on its way than a silence is long arrives nevertheless: each time that it is
	# given up, the same Step has twice as long.
	_ask_at_ms = now_ms + SILENCE_MS * (1 << int(min(_given_up, 10)))


# Why to give the stream up; "" to wait on. asked: what an inquiry says of the Step.
func look(now_ms, asked):
	if _inquiry != null:
		return _after(_inquiry.poll(now_ms), now_ms)
	if _lost_at_ms >= 0:
		return _give_up("actions that were sent are lost") if now_ms >= _lost_at_ms else ""
	if now_ms >= _ask_at_ms:
		_inquiry = Inquiry.new(_sockets, _options, asked, now_ms)
	return ""


func _after(standing, now_ms):
	if standing == Inquiry.UNKNOWN:
		return ""
	_inquiry = null
	if standing == Messages.NOT_HELD:
		return _give_up("the trainer does not have the last Step")
	if standing == Messages.ANSWERED:
		_lost_at_ms = now_ms + LOST_MS
	else:
		# HELD; or an answer that this addon cannot read, and the trainer lives.
		_ask_at_ms = now_ms + SILENCE_MS
	return ""


func _give_up(words):
	_given_up += 1
	return words
