extends EntrainAgent

onready var ball = get_parent()
onready var coin = ball.get_node("../Coin")


func get_obs():
	var to_coin = (coin.position - ball.position) / 200
	var speed = ball.linear_velocity / 200
	return {"obs": [to_coin.x, to_coin.y, speed.x, speed.y]}


func get_action_space():
	return {"push": {"size": 2, "action_type": "continuous"}}


func set_action(action):
	ball.applied_force = Vector2(action["push"][0], action["push"][1]) * 300


func reset():
	ball.position = Vector2(rand_range(40, 360), rand_range(40, 360))
	ball.linear_velocity = Vector2.ZERO
	coin.position = Vector2(rand_range(40, 360), rand_range(40, 360))


func _physics_process(_delta):
	var distance = ball.position.distance_to(coin.position)
	reward -= distance / 20000
	done = distance < 40
