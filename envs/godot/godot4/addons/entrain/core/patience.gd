# How long and how often to dial a trainer that does not answer: ever more seldom, with jitter.

const FIRST_DELAY_MS = 100
const LONGEST_DELAY_MS = 2000

var _random = RandomNumberGenerator.new()
var _give_up_ms = -1
var _delay_ms = 0


func _init():
	# Apart from the game's own randomness, which is to repeat.
	_random.randomize()


# When to dial next; -1 if patience is over. The first dial is at once.
# patience_s: how long it lasts from its beginning on.
func next_ms(now_ms, patience_s):
	if _give_up_ms < 0:
		_give_up_ms = now_ms + int(1000 * patience_s)
		_delay_ms = 0
	elif now_ms >= _give_up_ms:
		return -1
	# Games that lost a trainer together shall not dial it together.
	var dial_at_ms = now_ms + int(_delay_ms * _random.randf_range(0.5, 1.5))
	_delay_ms = int(clamp(2 * _delay_ms, FIRST_DELAY_MS, LONGEST_DELAY_MS))
	return dial_at_ms


# The trainer has answered: the next time, patience begins anew.
func renew():
	_give_up_ms = -1
