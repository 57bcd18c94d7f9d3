"""What is remembered of who joined: enough for seeds of their own, and no more."""

from entrain.config.run import ServerConfig
from entrain.serving.admission import MOST_NAMES, Admission, JoinRequest
from entrain.serving.behaviours import Behaviours


def admission() -> Admission:
    config = ServerConfig()
    return Admission(config, Behaviours(config, accepts=bool, policies=("*",)), seed=1)


def join(known: Admission, name: str) -> int:
    """The seed that a simulator of that name is given."""
    request = JoinRequest(name, "process", "host", specs=(), max_agents=0)
    return known.identify(request).seed


def test_each_time_that_a_name_joins_it_is_given_another_seed() -> None:
    first, second = admission(), admission()
    seeds = [join(first, "walker") for _ in range(3)]
    join(second, "other")
    assert [join(second, "walker") for _ in range(3)] == seeds
    assert len(set(seeds)) == 3


def test_ever_new_names_take_no_more_room_than_the_newest() -> None:
    known = admission()
    for number in range(MOST_NAMES + 500):
        join(known, f"sim-{number}")
    state = known.state()
    assert len(state["names"]) == len(state["counts"]) == MOST_NAMES
    assert state["names"][0] == "sim-500"
    assert state["joined"] == MOST_NAMES + 500


def test_a_name_that_was_forgotten_is_never_given_a_seed_that_it_had() -> None:
    known = admission()
    seeds = {join(known, "walker") for _ in range(3)}
    for number in range(MOST_NAMES):
        join(known, f"sim-{number}")
    assert "walker" not in known.state()["names"]
    restored = admission()
    restored.load_state(known.state())
    assert join(known, "walker") == join(restored, "walker")
    assert join(restored, "walker") not in seeds
