"""The `entrain-env` command, from its arguments to its exit code."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from entrain_envs import __main__ as command
from entrain_envs import command_line
from entrain_envs.codec import encode_actions
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import decode_spec
from entrain_envs.timestep import ActionBatch
from entrain_envs.wire import trainer_pb2 as pb
from scripted_trainer import Serve, Talk, close, num_acting, welcome
from turn_games import TICTACTOE, tictactoe

Requests = Iterator[pb.ConnectRequest]
Responses = Iterator[pb.ConnectResponse]


class Trainer:
    """Answers `steps` steps with zeros, then closes; keeps what it heard."""

    def __init__(self, steps: int = 5) -> None:
        self._steps = steps
        self.hello = pb.Hello()
        self.metadata: dict[str, Any] = {}
        self.steps: list[pb.Step] = []
        self.goodbyes: list[str] = []
        self.has_heard_a_step = threading.Event()
        self.has_heard_goodbye = threading.Event()

    def __call__(self, requests: Requests, context: Any) -> Responses:
        self.metadata = dict(context.invocation_metadata())
        for request in requests:
            if request.HasField("hello"):
                self.hello = pb.Hello()
                self.hello.CopyFrom(request.hello)
                yield welcome(seed=3)
            elif request.HasField("goodbye"):
                self.goodbyes.append(request.goodbye.reason)
                self.has_heard_goodbye.set()
                return
            elif len(self.steps) == self._steps:
                yield close(pb.CLOSE_REASON_COMPLETED, "trained")
            else:
                self.steps.append(request.step)
                self.has_heard_a_step.set()
                yield self._answer(request.step)

    @property
    def specs(self) -> dict[str, BehaviourSpec]:
        return {spec.name: spec for spec in map(decode_spec, self.hello.behaviours)}

    def _answer(self, step: pb.Step) -> pb.ConnectResponse:
        import numpy as np

        parts = []
        for part in step.behaviours:
            spec, rows = self.specs[part.behaviour], num_acting(part)
            actions = ActionBatch(
                np.zeros((rows, spec.action.continuous_size), np.float32),
                np.zeros((rows, len(spec.action.branches)), np.int32),
                1,
            )
            parts.append(encode_actions(spec, actions))
        return pb.ConnectResponse(act=pb.Act(sequence=step.sequence, behaviours=parts))


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variables of a launcher; signals and the module path as they were."""
    for name in list(os.environ):
        if name.startswith("ENTRAIN_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def parse(*arguments: str) -> argparse.Namespace:
    return command_line.parser().parse_args(arguments)


def test_the_balance_ball_runs_until_the_trainer_is_done(serve: Serve) -> None:
    trainer = Trainer(steps=7)
    assert command.main(["balance-ball", "--count", "3", "--connect", serve(trainer)]) == 0
    assert list(trainer.specs) == ["ball"]
    assert len(trainer.steps) == 7
    assert len(trainer.steps[0].behaviours[0].step_type) == 3
    assert trainer.goodbyes == ["the trainer closed the session"]


def test_the_cue_memory_runs_with_as_many_doors_as_asked_for(serve: Serve) -> None:
    trainer = Trainer()
    arguments = ["cue-memory", "--count", "3", "--cues", "5", "--connect", serve(trainer)]
    assert command.main(arguments) == 0
    assert trainer.specs["walker"].action.branches == (5,)
    assert len(trainer.steps[0].behaviours[0].step_type) == 3


def test_a_gymnasium_environment_runs_in_several_copies(serve: Serve) -> None:
    trainer = Trainer()
    address = serve(trainer)
    assert command.main(["gymnasium", "CartPole-v1", "--count", "4", "--connect", address]) == 0
    assert trainer.specs["CartPole-v1"].action.branches == (2,)
    assert len(trainer.steps[0].behaviours[0].step_type) == 4


def test_the_arguments_of_an_environment_are_json(serve: Serve) -> None:
    trainer = Trainer()
    arguments = ["gymnasium", "FrozenLake-v1", "--kwargs", '{"map_name": "8x8"}']
    assert command.main([*arguments, "--connect", serve(trainer)]) == 0
    assert trainer.specs["FrozenLake-v1"].observations[0].shape == (64,)


MY_ENVIRONMENTS = """
import gymnasium, numpy
from gymnasium import spaces

class Fixed(gymnasium.Env):
    observation_space = spaces.Box(0.0, 1.0, (2,))
    action_space = spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        return numpy.zeros(2), {}
    def step(self, action):
        return numpy.zeros(2), 1.0, False, False, {}

class Words(Fixed):
    observation_space = spaces.Text(5)

class Breaks(Fixed):
    def __init__(self, at):
        self.left = at
    def step(self, action):
        self.left -= 1
        if not self.left:
            raise KeyError("torque")
        return super().step(action)

class Mission(Fixed):
    observation_space = spaces.Dict(mission=spaces.Text(5), place=Fixed.observation_space)
    def reset(self, *, seed=None, options=None):
        return {"mission": "go", "place": numpy.zeros(2)}, {}
    def step(self, action):
        return *self.reset()[:1], 1.0, False, False, {}

class First(gymnasium.ObservationWrapper):
    def __init__(self, env):
        super().__init__(env)
        self.observation_space = spaces.Box(0.0, 1.0, (1,))
    def observation(self, observation):
        return observation[:1]

class Pair:
    possible_agents = ["cat_0", "cat_1"]
    def observation_space(self, agent):
        return Fixed.observation_space
    def action_space(self, agent):
        return Fixed.action_space
    def _all(self, value):
        return {agent: value for agent in self.agents}
    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        return self._all(numpy.zeros(2)), {}
    def step(self, actions):
        return (self._all(numpy.zeros(2)), self._all(1.0), self._all(False), self._all(False), {})
    def close(self):
        pass

class Quiet:
    def __init__(self, pair, times):
        assert times == 2
        self.pair = pair
    def __getattr__(self, name):
        return getattr(self.pair, name)

class Vector:
    observation_space = action_space = spaces.Discrete(2)
    num_envs = 3

def gymnasium_vector(env):
    return gymnasium.vector.SyncVectorEnv([lambda: env] * 3)

def foreign_vector(env):
    return Vector()

parallel_env = Pair
if "Fixed-v0" not in gymnasium.registry:
    gymnasium.register("Fixed-v0", entry_point=Fixed)
    gymnasium.register("Words-v0", entry_point=Words)
    gymnasium.register("Vector-v0", entry_point=lambda: gymnasium_vector(Fixed()))
    gymnasium.register("My/Breaks-v0", entry_point=Breaks)
    gymnasium.register("Mission-v0", entry_point=Mission)
"""


@pytest.fixture
def my_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory holds a module my_environments that is not installed."""
    (tmp_path / "my_environments.py").write_text(MY_ENVIRONMENTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_environments", raising=False)


@pytest.mark.usefixtures("my_environments")
def test_an_environment_of_ones_own_is_found_where_the_command_is_typed(serve: Serve) -> None:
    trainer = Trainer()
    arguments = ["gymnasium", "my_environments:Fixed-v0", "--connect", serve(trainer)]
    assert command.main(arguments) == 0
    assert trainer.specs["Fixed-v0"].observations[0].shape == (2,)


@pytest.mark.usefixtures("my_environments")
def test_copies_may_be_wrapped(serve: Serve) -> None:
    trainer = Trainer()
    arguments = ["gymnasium", "my_environments:Fixed-v0", "--wrapper", "my_environments:First"]
    assert command.main([*arguments, "--connect", serve(trainer)]) == 0
    assert trainer.specs["Fixed-v0"].observations[0].shape == (1,)


def test_a_wrapper_may_have_arguments(serve: Serve) -> None:
    trainer = Trainer()
    wrapper = "gymnasium.wrappers:FrameStackObservation(stack_size=3, padding_type='zero')"
    arguments = ["gymnasium", "CartPole-v1", "--wrapper", wrapper, "--connect", serve(trainer)]
    assert command.main(arguments) == 0
    assert trainer.specs["CartPole-v1"].observations[0].shape[0] == 3


def test_arguments_that_a_wrapper_does_not_take_are_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrapper = "gymnasium.wrappers:FrameStackObservation(stack=3)"
    arguments = ["gymnasium", "CartPole-v1", "--wrapper", wrapper, "--connect", "a:1"]
    assert command.main(arguments) == 78
    error = capsys.readouterr().err
    assert "wrapper 'gymnasium.wrappers:FrameStackObservation' raised TypeError" in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("my_environments")
def test_environments_of_several_agents_may_be_wrapped_too(serve: Serve) -> None:
    trainer = Trainer()
    arguments = ["pettingzoo", "my_environments", "--wrapper", "my_environments:Quiet(times=2)"]
    assert command.main([*arguments, "--connect", serve(trainer)]) == 0


def test_an_atari_game_runs_with_the_usual_preprocessing(serve: Serve) -> None:
    trainer = Trainer()
    arguments = ["gymnasium", "ALE/Pong-v5", "--preset", "atari", "--connect", serve(trainer)]
    assert command.main(arguments) == 0
    assert trainer.specs["ALE/Pong-v5"].observations[0].shape == (4, 84, 84)


def test_some_numbers_of_an_observation_may_be_hidden(serve: Serve) -> None:
    trainer = Trainer()
    arguments = ["gymnasium", "CartPole-v1", "--keep", "0,2", "--connect", serve(trainer)]
    assert command.main(arguments) == 0
    assert trainer.specs["CartPole-v1"].observations[0].shape == (2,)


def test_an_observation_may_be_said_to_be_something_else(serve: Serve) -> None:
    trainer = Trainer()
    arguments = ["gymnasium", "CartPole-v1", "--kind", "observation=goal"]
    assert command.main([*arguments, "--connect", serve(trainer)]) == 0
    assert trainer.specs["CartPole-v1"].observations[0].kind == "goal"


@pytest.mark.usefixtures("my_environments")
def test_a_parallel_environment_runs_by_its_modules_name(serve: Serve) -> None:
    trainer = Trainer()
    assert command.main(["pettingzoo", "my_environments", "--connect", serve(trainer)]) == 0
    assert list(trainer.specs) == ["cat"]
    assert len(trainer.steps[0].behaviours[0].step_type) == 2


@pytest.mark.usefixtures("my_environments")
def test_a_parallel_environment_may_be_named_by_its_factory(serve: Serve) -> None:
    trainer = Trainer()
    arguments = ["pettingzoo", "my_environments:Pair", "--one-each", "--count", "2"]
    assert command.main([*arguments, "--connect", serve(trainer)]) == 0
    assert list(trainer.specs) == ["cat_0", "cat_1"]


def test_a_module_of_turns_alone_runs_by_its_name(serve: Serve) -> None:
    tictactoe()
    trainer = Trainer(steps=20)
    arguments = ["pettingzoo", TICTACTOE, "--count", "2"]
    assert command.main([*arguments, "--connect", serve(trainer)]) in {0, 1}
    assert list(trainer.specs) == ["player"]
    assert len(trainer.steps[0].behaviours[0].step_type) == 2


def test_a_behaviour_may_be_renamed(serve: Serve) -> None:
    trainer = Trainer()
    command.main(["balance-ball", "--behaviour", "balancer", "--connect", serve(trainer)])
    assert list(trainer.specs) == ["balancer"]


def test_the_launchers_variables_are_defaults(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer()
    monkeypatch.setenv("ENTRAIN_ADDRESS", serve(trainer))
    monkeypatch.setenv("ENTRAIN_SIMULATOR", "simulator-1")
    assert command.main(["balance-ball"]) == 0
    assert trainer.hello.simulator == "simulator-1"


def test_what_is_typed_goes_before_the_launchers_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("ADDRESS", "a:1"), ("SIMULATOR", "s"), ("RECONNECT_S", "0")):
        monkeypatch.setenv(f"ENTRAIN_{name}", value)
    options = parse("balance-ball")
    assert (options.connect, options.name, options.reconnect_s) == ("a:1", "s", 0.0)
    options = parse("balance-ball", "--connect", "b:2", "--name", "t", "--reconnect-s", "9")
    assert (options.connect, options.name, options.reconnect_s) == ("b:2", "t", 9.0)


def test_without_a_launcher_a_stopped_trainer_is_awaited_for_a_minute() -> None:
    assert parse("balance-ball", "--connect", "a:1").reconnect_s == 60.0


def test_two_simulators_that_nobody_named_have_different_names() -> None:
    assert str(os.getpid()) in parse("balance-ball", "--connect", "a:1").name


def test_files_of_tls_may_come_from_the_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN_FILE", "TLS_CA", "TLS_CERTIFICATE", "TLS_KEY"):
        monkeypatch.setenv(f"ENTRAIN_{name}", f"/secrets/{name}")
    options = parse("balance-ball", "--connect", "a:1")
    assert options.token_file == Path("/secrets/TOKEN_FILE")
    assert options.tls_ca == Path("/secrets/TLS_CA")
    assert options.tls_certificate == Path("/secrets/TLS_CERTIFICATE")
    assert options.tls_key == Path("/secrets/TLS_KEY")


def test_the_token_is_the_first_line_of_its_file(serve: Serve, tmp_path: Path) -> None:
    trainer = Trainer()
    token = tmp_path / "token"
    token.write_text("secret\nsecond line\n")
    arguments = ["balance-ball", "--connect", serve(trainer), "--token-file", str(token)]
    assert command.main(arguments) == 0
    assert trainer.metadata["authorization"] == "Bearer secret"


def test_the_ledger_holds_what_was_counted(serve: Serve, tmp_path: Path) -> None:
    # Steps 1 to 5 are answered: 2 agents open 10, and close 8; the 6th step meets Close.
    ledger = tmp_path / "ledger.json"
    arguments = ["balance-ball", "--count", "2", "--name", "sim", "--ledger", str(ledger)]
    assert command.main([*arguments, "--connect", serve(Trainer(steps=5))]) == 0
    assert json.loads(ledger.read_text()) == {
        "simulator": "sim",
        "exchanges": 5,
        "opened": 10,
        "closed": 8,
        "unanswered": 2,
        "dropped": 0,
        "episodes": 0,
        "late": 0,
    }


class SlowTrainer(Trainer):
    """Takes its time over every second step."""

    revision = 2

    def __call__(self, requests: Requests, context: Any) -> Responses:
        for count, answer in enumerate(super().__call__(requests, context)):
            if answer.HasField("welcome"):
                answer.welcome.revision = self.revision
            elif count % 2:
                time.sleep(0.15)
            yield answer


def test_a_world_with_a_deadline_goes_on_without_the_trainer(serve: Serve, tmp_path: Path) -> None:
    ledger, trainer = tmp_path / "ledger.json", SlowTrainer(steps=8)
    arguments = ["balance-ball", "--count", "2", "--deadline-ms", "25", "--fallback", "neutral"]
    arguments += ["--connect", serve(trainer), "--ledger", str(ledger)]
    assert command.main(arguments) == 0
    (spec,) = trainer.specs.values()
    assert (spec.deadline_ms, spec.fallback) == (25, "neutral")
    assert any(trainer.steps[count].behaviours[0].late == b"\1\1" for count in range(1, 8))
    counted = json.loads(ledger.read_text())
    assert counted["late"] >= 2
    assert counted["opened"] == counted["closed"] + counted["unanswered"] + counted["dropped"]


def test_a_trainer_that_is_too_old_for_deadlines_is_waited_for(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger, trainer = tmp_path / "ledger.json", SlowTrainer(steps=4)
    trainer.revision = 1
    arguments = ["balance-ball", "--count", "2", "--deadline-ms", "25"]
    arguments += ["--connect", serve(trainer), "--ledger", str(ledger)]
    assert command.main(arguments) == 0
    assert json.loads(ledger.read_text())["late"] == 0
    assert "too old to be told which actions came too late" in caplog.text


def test_two_groups_have_no_deadline(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["gymnasium", "CartPole-v1", "--count", "2", "--groups", "2", "--deadline-ms", "25"]
    assert command.main([*options, "--connect", serve(Trainer())]) == 2
    assert "give one group, or no deadline" in capsys.readouterr().err


def test_a_number_of_episodes_ends_the_run(serve: Serve, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.json"
    arguments = ["gymnasium", "CartPole-v1", "--episodes", "3", "--ledger", str(ledger)]
    assert command.main([*arguments, "--connect", serve(Trainer(steps=10_000))]) == 0
    counted = json.loads(ledger.read_text())
    assert counted["episodes"] == 3
    assert counted["dropped"] == 1


def test_a_seed_of_ones_own_repeats_the_run(serve: Serve) -> None:
    heard = []
    for _ in range(2):
        trainer = Trainer()
        command.main(["balance-ball", "--seed", "8", "--connect", serve(trainer)])
        heard.append([step.SerializeToString(deterministic=True) for step in trainer.steps])
    assert heard[0] == heard[1]


def test_the_trainers_seed_decides_otherwise(serve: Serve) -> None:
    trainers = Trainer(), Trainer()
    command.main(["balance-ball", "--connect", serve(trainers[0])])
    command.main(["balance-ball", "--seed", "8", "--connect", serve(trainers[1])])
    assert trainers[0].steps[0] != trainers[1].steps[0]


def test_no_trainer_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["balance-ball", "--connect", "localhost:1", "--connect-s", "0"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("entrain-env: no trainer answered at localhost:1")
    assert error.count("\n") == 1


def refusing(code: grpc.StatusCode, *, at: str) -> Talk:
    """A trainer that answers a message of that kind with this status."""

    def talk(requests: Requests, context: Any) -> Responses:
        for request in requests:
            if request.HasField(at):
                context.abort(code, "not so")
            yield welcome()

    return talk


@pytest.mark.parametrize(
    ("code", "at", "expected"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "hello", 78),
        (grpc.StatusCode.INVALID_ARGUMENT, "hello", 78),
        (grpc.StatusCode.FAILED_PRECONDITION, "hello", 78),
        # There may be room, and no NaN, the next time.
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "hello", 1),
        (grpc.StatusCode.INVALID_ARGUMENT, "step", 1),
    ],
)
def test_the_exit_code_says_whether_the_same_command_would_be_refused_again(
    serve: Serve,
    code: grpc.StatusCode,
    at: str,
    expected: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = serve(refusing(code, at=at))
    assert command.main(["balance-ball", "--connect", address, "--name", "sim"]) == expected
    error = capsys.readouterr().err
    assert error == f"entrain-env: {address} refused 'sim': not so ({code.name})\n"


@pytest.mark.usefixtures("my_environments")
def test_an_environment_that_cannot_be_a_simulator_exits_with_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["gymnasium", "my_environments:Words-v0", "--connect", "a:1"]
    assert command.main(arguments) == 2
    assert "this environment cannot be a simulator: " in capsys.readouterr().err


@pytest.mark.usefixtures("my_environments")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["my_environments:Vector-v0"], "SyncVectorEnv'>"),
        (
            ["my_environments:Fixed-v0", "--wrapper", "my_environments:gymnasium_vector"],
            "'Fixed-v0' is a SyncVectorEnv, a vector of environments: give one",
        ),
        (
            ["my_environments:Fixed-v0", "--wrapper", "my_environments:foreign_vector"],
            "'Fixed-v0' is a Vector, a vector of environments: give one",
        ),
        (
            ["CartPole-v1", "--wrapper", "gymnasium.wrappers.vector:RecordEpisodeStatistics"],
            "'gymnasium.wrappers.vector:RecordEpisodeStatistics' is for vectors of environments",
        ),
        (
            ["CartPole-v1", "--wrapper", "gymnasium.vector:SyncVectorEnv"],
            "'gymnasium.vector:SyncVectorEnv' is for vectors of environments",
        ),
    ],
)
def test_a_vector_of_environments_is_refused_by_its_name_in_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing listens there: it is refused before a trainer is dialled.
    nowhere = ["--connect", "localhost:1", "--connect-s", "0"]
    assert command.main(["gymnasium", *arguments, *nowhere]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "--count N" in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("my_environments")
@pytest.mark.parametrize(("at", "code"), [(1, 78), (2, 1)])
def test_what_fails_at_the_first_step_would_always_and_later_perhaps_not(
    at: int, code: int, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["gymnasium", "my_environments:My/Breaks-v0", "--kwargs", f'{{"at": {at}}}']
    assert command.main([*arguments, "--connect", serve(Trainer())]) == code
    error = capsys.readouterr().err
    assert "environment 'My/Breaks-v0': `step` raised KeyError: 'torque' (" in error
    assert "my_environments.py, line" in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("my_environments")
def test_an_id_keeps_its_slash(serve: Serve) -> None:
    trainer = Trainer(steps=1)
    arguments = ["gymnasium", "my_environments:My/Breaks-v0", "--kwargs", '{"at": 9}']
    assert command.main([*arguments, "--connect", serve(trainer)]) == 0
    assert list(trainer.specs) == ["My/Breaks-v0"]


@pytest.mark.usefixtures("my_environments")
def test_a_text_beside_numbers_is_left_out_with_a_line(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = Trainer()
    arguments = ["gymnasium", "my_environments:Mission-v0", "--connect", serve(trainer)]
    assert command.main(arguments) == 0
    assert [each.name for each in trainer.specs["Mission-v0"].observations] == ["place"]
    assert caplog.text.count("observation 'mission' is left out, because a Text") == 1


@pytest.mark.usefixtures("my_environments")
@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (
            ["my_environments:Fixed-v0", "--wrapper", "json:loads"],
            78,
            "wrapper 'json:loads' raised TypeError",
        ),
        (["my_environments:My/Breaks-v0"], 2, "missing 1 required positional argument: 'at'"),
    ],
)
def test_a_constructor_that_raises_is_one_line(
    arguments: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["gymnasium", *arguments, "--connect", "a:1"]) == code
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    for hint in ("MuJoCo", "MODULE:ENV_ID"):
        assert hint not in error


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["balance-ball", "--connect", "nowhere"], "'nowhere' is no address"),
        (["gymnasium", "CartPool-v1", "--connect", "a:1"], "cannot make environment 'CartPool-v1'"),
        (
            ["gymnasium", "CartPole-v1", "--keep", "4", "--connect", "a:1"],
            "cannot keep [4] of the observation's 4 numbers",
        ),
        (
            ["gymnasium", "CartPole-v1", "--kind", "eye=image", "--connect", "a:1"],
            "no observation 'eye' whose kind could be image (there is: observation)",
        ),
        (
            ["gymnasium", "CartPole-v1", "--kind", "observation=image", "--connect", "a:1"],
            "image 'observation' has shape [4]",
        ),
        (["cue-memory", "--cues", "1", "--connect", "a:1"], "cues is 1"),
        (["pettingzoo", "no.such", "--connect", "a:1"], "'no.such': No module named 'no'"),
        (
            ["pettingzoo", "json:zoo", "--connect", "a:1"],
            "no attribute 'zoo'; expected",
        ),
        (
            ["balance-ball", "--connect", "a:1", "--token-file", "/no/such"],
            "cannot read token file",
        ),
        (["balance-ball", "--connect", "a:1", "--token-file", os.devnull], "is empty"),
        (["bridge", "--connect", "a:1", "--token-file", "/no/such"], "cannot read"),
        (["bridge", "--connect", "a:1", "--tls-ca", "/no/such"], "cannot read /no/such"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: KIND"),
        (["balance-ball"], "required: --connect"),
        (["balance-ball", "--connect", "a:1", "--count", "0"], "0 is below 1"),
        (["balance-ball", "--connect", "a:1", "--reconnect-s", "soon"], "invalid float"),
        (["gymnasium", "X", "--connect", "a:1", "--kwargs", "{"], "no JSON"),
        (["gymnasium", "X", "--connect", "a:1", "--kwargs", "[1]"], "is no JSON object"),
        (["gymnasium", "X", "--connect", "a:1", "--keep", "0,b"], "'0,b' is no list of indices"),
        (["gymnasium", "X", "--connect", "a:1", "--kind", "eye"], "'eye' is no NAME=KIND"),
        (["pettingzoo", "X", "--connect", "a:1", "--kind", "e=picture"], "'e=picture' is no NAME"),
        (
            ["gymnasium", "X", "--connect", "a:1", "--wrapper", "a:B(4)"],
            "'a:B(4)': column 5: an argument has no name; write key=literal",
        ),
        (["gymnasium", "X", "--connect", "a:1", "--preset", "atary"], "invalid choice: 'atary'"),
        (["balanceball"], "invalid choice: 'balanceball'"),
    ],
)
def test_a_wrong_command_line_exits_with_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        command.main(arguments)
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


def test_without_pettingzoo_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Absent:
        @staticmethod
        def find_spec(name: str, *_: Any) -> None:
            if name == "pettingzoo":
                raise ModuleNotFoundError("No module named 'pettingzoo'", name=name)

    for name in list(sys.modules):
        if name.partition(".")[0] == "pettingzoo":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])
    arguments = ["pettingzoo", "pettingzoo.butterfly.pistonball_v6", "--connect", "a:1"]
    assert command.main(arguments) == 2
    assert "pip install pettingzoo (the extra entrain-envs[pettingzoo])" in capsys.readouterr().err


def test_sigterm_says_goodbye_and_exits_with_0(serve: Serve, tmp_path: Path) -> None:
    trainer = Trainer(steps=1_000_000)
    ledger = tmp_path / "ledger.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "entrain_envs", "balance-ball"),
            *("--connect", serve(trainer), "--ledger", str(ledger)),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert trainer.has_heard_a_step.wait(30.0)
    process.terminate()
    _, error = process.communicate(timeout=30.0)
    assert process.returncode == 0, error
    # As the trainer's lines, so that both can be sorted into one log.
    for line in error.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO |WARN |ERROR) ", line), line
    assert trainer.has_heard_goodbye.wait(5.0)
    counted = json.loads(ledger.read_text())
    assert counted["opened"] == counted["closed"] + counted["unanswered"] + counted["dropped"]


def test_a_failed_handshake_prints_no_line_of_grpcs_own(serve: Serve, certificate: Path) -> None:
    surroundings = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    process = subprocess.run(
        [
            *(sys.executable, "-m", "entrain_envs", "balance-ball", "--connect", serve(Trainer())),
            *("--connect-s", "0", "--tls-ca", str(certificate / "cert.pem")),
        ],
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1
    assert "no trainer answered" in process.stderr
    assert "ssl_transport_security.cc" not in process.stderr


def test_help_answers_without_importing_numpy_grpc_or_gymnasium() -> None:
    program = (
        "import sys\n"
        "from entrain_envs.__main__ import main\n"
        "try: main(['gymnasium', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'grpc', 'gymnasium', 'google.protobuf', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "--wrapper MODULE:CLASS(KEY=LITERAL, ...)" in process.stdout
