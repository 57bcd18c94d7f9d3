# Asks a trainer on a second connection whether it has a Step that stays without its Act.

const Messages = preload("messages.gd")

const UNKNOWN = -1
const LONGEST_MS = 5000

var _socket
var _asked
var _has_asked = false
var _give_up_ms


func _init(sockets, options, asked, now_ms):
	_asked = asked
	_give_up_ms = now_ms + LONGEST_MS
	_socket = sockets.new()
	_socket.open(options["address"] + "/inquire", options)


# UNKNOWN until there is an answer; then the standing. No answer counts as NOT_HELD.
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
		_socket.drop()
		return Messages.NOT_HELD
	return UNKNOWN
