# Asks a trainer on a second connection whether it has a Step that stays without its Act.
#
# A trainer that refuses to tell lives: that counts as HELD. Nobody there counts as NOT_HELD.

const Messages = preload("messages.gd")
const Options = preload("options.gd")
const Refusals = preload("refusals.gd")

const UNKNOWN = -1
const LONGEST_MS = 5000

var _socket
var _asked
var _has_asked = false
var _give_up_ms


func _init(sockets, options, asked, now_ms):
	_asked = asked
	_give_up_ms = now_ms + LONGEST_MS
	Options.renew_token(options)
	_socket = sockets.new()
	_socket.open(options["address"] + "/inquire", options)


# UNKNOWN until it is known; then the standing.
func poll(now_ms):
	_socket.poll()
	if _socket.is_open() and not _has_asked:
		_has_asked = true
		_socket.send(Messages.inquire(_asked))
	var answer = _socket.receive()
	if answer != null:
		_socket.close()
		return Messages.standing(answer)
	if _socket.is_closed() or now_ms >= _give_up_ms:
		var is_refused = _is_refused()
		_socket.drop()
		return Messages.HELD if is_refused else Messages.NOT_HELD
	return UNKNOWN


func _is_refused():
	var number = Refusals.number_of(_socket.close_code())
	return (
		_socket.refusal() != ""
		or (number > 0 and Refusals.exit_code_of(number) != Refusals.AGAIN)
	)
