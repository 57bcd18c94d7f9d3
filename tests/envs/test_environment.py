"""The loop that runs an environment with a trainer, and what it counts."""

from collections.abc import Mapping, Sequence

import pytest

from entrain_envs.client import TrainerClient
from entrain_envs.environment import Driver, Report, run
from entrain_envs.errors import ConnectionLostError, SessionLostError, TrainerClosed
from entrain_envs.greeting import Welcome
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from scripted_trainer import RowsOf, actions_for

FIRST, MID, TERMINATED, TRUNCATED = StepType
POINT = BehaviourSpec("point", (ObservationSpec("place", (1,)),), ActionSpec((-1.0,), (1.0,)))

Rows = tuple[StepType, ...]


class ScriptedEnvironment:
    """Two agents, whose steps are those of a script that begins anew at each reset."""

    def __init__(self, rows_of: RowsOf, *script: Rows) -> None:
        self._rows_of = rows_of
        self._script = script
        self._at = 0
        self.resets: list[tuple[int, Mapping[str, float]]] = []
        self.parameters: list[Mapping[str, float]] = []
        self.received: list[int] = []

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        return (POINT,)

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        self.resets.append((seed, dict(parameters)))
        self._at = 0
        return {"point": self._rows_of(POINT, FIRST, FIRST)}

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        self.received.append(len(actions["point"]))
        self._at += 1
        return {"point": self._rows_of(POINT, *self._script[self._at - 1])}

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        self.parameters.append(dict(parameters))

    def close(self) -> None:
        pass


class ScriptedClient(TrainerClient):
    """Answers exchanges with actions until the script says otherwise, without a connection."""

    def __init__(self, *failures: tuple[int, BaseException]) -> None:
        super().__init__("trainer:1", [POINT], simulator="sim")
        self._failures = dict(failures)
        self._exchanges = 0
        self.is_closed = False
        self._seed = 4
        self.parameters: Mapping[str, float] = {}

    @property
    def environment_parameters(self) -> Mapping[str, float]:
        return self.parameters

    @property
    def welcome(self) -> Welcome:
        return Welcome(1, "session", "run", self._seed, self.parameters, resumed=False)

    def connect(self) -> Welcome:
        return self.welcome

    def exchange(self, timesteps: Mapping[str, TimestepBatch]) -> Mapping[str, ActionBatch]:
        self._exchanges += 1
        failure = self._failures.get(self._exchanges)
        if failure is not None:
            self._seed += 1
            raise failure
        rows = int(timesteps["point"].needs_action.sum())
        return {"point": actions_for(POINT, rows)}

    def close(self, *, reason: str = "") -> None:
        self.is_closed = True


def test_actions_received_are_opened_and_outcomes_answered_are_closed(rows_of: RowsOf) -> None:
    # Exchange 1: FIRST FIRST             opens 2
    # Exchange 2: MID TERMINATED FIRST    closes 2, opens 2, 1 episode
    # Exchange 3: never answered, holds MID TRUNCATED FIRST: 2 outcomes
    environment = ScriptedEnvironment(rows_of, (MID, TERMINATED, FIRST), (MID, TRUNCATED, FIRST))
    client = ScriptedClient((3, TrainerClosed("trained")))
    report = run(environment, client)
    assert report == Report(exchanges=2, opened=4, closed=2, unanswered=2, dropped=0, episodes=1)
    assert client.is_closed


def test_the_environment_acts_on_what_the_trainer_answered(rows_of: RowsOf) -> None:
    environment = ScriptedEnvironment(rows_of, (MID, TERMINATED), (MID,))
    run(environment, ScriptedClient((3, TrainerClosed("trained"))))
    assert environment.received == [2, 1]


def test_leaving_after_enough_episodes_drops_what_is_still_open(rows_of: RowsOf) -> None:
    # FIRST FIRST opens 2; TERMINATED FIRST TRUNCATED FIRST closes 2, opens 2 that stay open.
    environment = ScriptedEnvironment(rows_of, (TERMINATED, FIRST, TRUNCATED, FIRST), (MID, MID))
    client = ScriptedClient()
    report = run(environment, client, episodes=2)
    assert report == Report(exchanges=2, opened=4, closed=2, unanswered=0, dropped=2, episodes=2)
    assert client.is_closed


def test_the_last_outcome_is_sent_before_leaving(rows_of: RowsOf) -> None:
    environment = ScriptedEnvironment(rows_of, (MID, MID), (MID, TERMINATED), (MID,))
    assert run(environment, ScriptedClient(), episodes=1).closed == 4


def test_the_trainers_seed_and_parameters_begin_the_environment(rows_of: RowsOf) -> None:
    environment = ScriptedEnvironment(rows_of)
    client = ScriptedClient((1, TrainerClosed("trained")))
    client.parameters = {"gravity": 2.0}
    run(environment, client)
    assert environment.resets == [(4, {"gravity": 2.0})]


def test_a_seed_of_ones_own_takes_the_place_of_the_trainers(rows_of: RowsOf) -> None:
    environment = ScriptedEnvironment(rows_of)
    Driver(environment, ScriptedClient((1, TrainerClosed("trained"))), seed=0).run()
    assert environment.resets == [(0, {})]


def test_a_forgotten_session_begins_all_episodes_anew(rows_of: RowsOf) -> None:
    # Exchange 1 opens 2; exchange 2 (2 outcomes) meets a trainer that forgot; 3 opens 2 again;
    # 4 closes both, opens 2; 5 is never answered.
    environment = ScriptedEnvironment(rows_of, (MID, MID), (MID, MID), (MID, MID))
    client = ScriptedClient((2, SessionLostError("who?")), (5, TrainerClosed("trained")))
    report = run(environment, client)
    assert [seed for seed, _ in environment.resets] == [4, 5]
    assert report.opened == 6
    assert report.closed == 2
    assert report.unanswered == 4
    assert report.dropped == 0


def test_changed_parameters_reach_the_environment_before_its_next_step(rows_of: RowsOf) -> None:
    environment = ScriptedEnvironment(rows_of, (MID, MID), (MID, MID))

    class ChangingClient(ScriptedClient):
        def exchange(self, timesteps: Mapping[str, TimestepBatch]) -> Mapping[str, ActionBatch]:
            actions = super().exchange(timesteps)
            if self._exchanges == 2:
                self.parameters = {"gravity": 3.0}
            return actions

    run(environment, ChangingClient((3, TrainerClosed("trained"))))
    assert environment.parameters == [{"gravity": 3.0}]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ConnectionLostError("gone")])
def test_after_an_interruption_goodbye_is_said_and_the_report_is_there(
    failure: BaseException, rows_of: RowsOf
) -> None:
    environment = ScriptedEnvironment(rows_of, (MID, MID), (MID, TERMINATED, FIRST))
    client = ScriptedClient((3, failure))
    driver = Driver(environment, client)
    with pytest.raises(type(failure)):
        driver.run()
    assert client.is_closed
    # Answered: FIRST FIRST, MID MID. Not answered: MID TERMINATED FIRST.
    assert driver.report == Report(
        exchanges=2, opened=4, closed=2, unanswered=2, dropped=0, episodes=0
    )


def test_several_behaviours_are_counted_together(rows_of: RowsOf) -> None:
    class TwoKinds(ScriptedEnvironment):
        def reset(
            self, *, seed: int, parameters: Mapping[str, float]
        ) -> Mapping[str, TimestepBatch]:
            first = super().reset(seed=seed, parameters=parameters)["point"]
            return {"point": first, "other": first}

    report = run(TwoKinds(rows_of, ()), ScriptedClient((2, TrainerClosed("trained"))))
    assert report.opened == 4
