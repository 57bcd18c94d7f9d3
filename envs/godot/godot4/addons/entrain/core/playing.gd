# One physics tick of a game whose agents play a trained policy, without a trainer.

const Platform = preload("../platform.gd")
const Policy = preload("policy.gd")
const Spaces = preload("spaces.gd")

# Ticks between two decisions.
var action_repeat = 8
# What is wrong with the files; "" if nothing.
var problem = ""

var _agents
var _path
var _policies = {}
var _ticks = 0


# path: of a JSON file, or of a folder with one for each policy name.
func _init(agents, path):
	_agents = agents
	_path = path


func tick():
	_agents.tick()
	if _ticks % action_repeat == 0:
		_agents.begin_due()
		_agents.act_by(self)
	_ticks += 1


# The action of an agent of a behaviour; as Agents.act_by asks for it.
func choose(spec, seen):
	var policy = _policy_of(spec)
	if policy == null:
		return {}
	var chosen = policy.act(seen["obs"], Spaces.mask_of(spec, seen["mask"]))
	return Spaces.action_of(spec, chosen["continuous"], chosen["discrete"], 0)


func _policy_of(spec):
	var name = spec["name"]
	if not _policies.has(name):
		_policies[name] = null
		var path = _path if _path.ends_with(".json") else _path + "/" + name + ".json"
		var text = Platform.read_text(path)
		var written = null if text == null else Platform.parse_json(text)
		if not Policy.is_one(written):
			problem = "%s is no policy; write one with: entrain export RUN --format json" % path
			return null
		var policy = Policy.new(written)
		var misfit = policy.problem_of(spec)
		if misfit != "":
			problem = "%s is the policy of another game: %s" % [path, misfit]
			return null
		_policies[name] = policy
		print("entrain: %s acts for '%s'" % [path, name])
	return _policies[name]
