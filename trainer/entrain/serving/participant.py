"""One simulator that takes part: asks for actions for its agents, and gathers the answers.

A step is what happened in the simulator since its last actions. It becomes one request per
behaviour; once all are answered, the answers go back as one. They are kept, so that a simulator
whose connection broke can ask for them again. Nothing here knows how it is connected.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Protocol

from entrain.errors import LimitError
from entrain.serving.agents import Agents, agents_state, load_agents
from entrain.serving.answered import Answered
from entrain.serving.batch import Request, nobody_waits
from entrain.serving.behaviours import Behaviour
from entrain.serving.empty_steps import EmptySteps
from entrain.serving.limits import Limit
from entrain.serving.measures import ExchangeTimer
from entrain.serving.member import Identity, Member, Presence
from entrain.serving.parameters import SimulatorParameters
from entrain.serving.repeated_lines import RepeatedLines
from entrain.serving.statistics import Reports
from entrain.serving.step_order import StepOrder
from entrain.serving.waiting_bytes import WaitingBytes
from entrain.state import State
from entrain_envs.statistics import Statistic, StatisticValues, grouped
from entrain_envs.timestep import ActionBatch, Int64Array, TimestepBatch


class Receiver(Protocol):
    """The wire's side of one participant."""

    def act(self, taken: Callable[[], None]) -> bool:
        """Send `Participant.answers` of the newest step, which are complete now.

        Returns whether they are on their way to a connected simulator. If so, `taken` is to be
        called once the transport took them, or at once where there is no transport.
        """
        ...


class NoReceiver:
    """Of a participant that came from a checkpoint and that no wire has claimed yet."""

    def act(self, _taken: Callable[[], None]) -> bool:
        """No simulator is connected: the answers are only kept."""
        return False


class Participant(Member):
    """See the module. Owned by the event loop; made by `Participants`."""

    def __init__(
        self,
        identity: Identity,
        behaviours: Iterable[Behaviour],
        *,
        peer: str,
        lockstep: bool,
        waiting_bytes: Limit,
        max_answer_bytes: int,
        reports: Reports,
        parameters: SimulatorParameters,
        empty_steps: RepeatedLines,
        timer: ExchangeTimer | None = None,
    ) -> None:
        super().__init__(identity, peer=peer)
        self.parameters, self.timer = parameters, timer
        self.receiver: Receiver = NoReceiver()
        self.step_number = 0
        """Of the newest step; the first one is 1."""
        self.with_rows: tuple[str, ...] = ()
        """The behaviours that had rows in the newest step, in its order."""
        self.is_waiting = False
        """Whether its newest step is not fully answered."""
        self.answers: dict[str, ActionBatch] = {}
        """{behaviour: actions for its rows of the newest step}, as far as they are known."""
        self.keeps_earlier = False
        """Whether its wire allows two unanswered steps, so that the answers to both are kept."""
        self.earlier: Answered | None = None
        """The step before the newest, if it is kept."""
        self._lockstep, self._rank = lockstep, (identity.simulator, identity.joined)
        self._agents = {b.name: Agents.of(b) for b in behaviours}
        self._wanted: tuple[str, ...] = ()
        self._bytes = WaitingBytes(waiting_bytes, self)
        self._max_answer_bytes = max_answer_bytes
        self._answer_bytes = 0
        self._has_forgotten = False
        self._empty_steps = EmptySteps(self.label, empty_steps)
        self.reports = reports
        """What it reported beside its rows."""

    def __repr__(self) -> str:
        return f"<Participant {self.label}: {self.presence.value}>"

    @property
    def behaviours(self) -> Mapping[str, Behaviour]:
        """{name: behaviour} of what it may send."""
        return {name: agents.behaviour for name, agents in self._agents.items()}

    @property
    def num_agents(self) -> int:
        """Agents that await the outcome of an action."""
        return sum(len(agents.order) for agents in self._agents.values())

    def add(self, behaviours: Iterable[Behaviour]) -> None:
        """It may send rows of these too from now on."""
        self._agents.update({b.name: Agents.of(b) for b in behaviours})

    def drop(self, behaviour: str, agent_id: Int64Array) -> None:
        """These agents are gone, and their last action has no outcome. Not while a step waits."""
        self._agents[behaviour].drop(self.id, agent_id)

    def note_statistics(self, statistics: Iterable[Statistic]) -> None:
        """Take what it reports beside the rows of its next step, before `ask`; never raises."""
        self.note_values(grouped(statistics))

    def note_values(self, values: Iterable[StatisticValues]) -> None:
        """The same, by name."""
        self.reports.note(
            values, who=self.label, behaviours=tuple(self._agents), step_number=self.step_number + 1
        )

    def close(self) -> None:
        """It is gone; answers that still arrive go nowhere."""
        self.presence = Presence.GONE
        self._bytes.give_back()
        for agents in self._agents.values():
            agents.asked = None
            agents.claim(0, who=self.label)

    def ask(self, rows: Mapping[str, TimestepBatch], *, size: int) -> None:
        """Take a new step: request actions for its rows.

        Args:
            rows: {behaviour: its rows, at least one}, held against the specs.
            size: bytes that they take while they wait.

        Raises:
            BadStepError: rows are out of order.
            LimitError: there is no room for so many agents or bytes.
        """
        wanted = tuple(self._agents) if self._lockstep else tuple(rows)
        asked = self._requests(wanted, rows, self.step_number + 1)
        if (self.keeps_earlier or self.earlier is not None) and self.step_number:
            self.earlier = Answered(self.step_number, self.with_rows, self.answers)
            self._bytes.hold_earlier(self.earlier.size)
        self.step_number += 1
        self.with_rows = tuple(rows)
        self._wanted = wanted
        self.answers = {}
        self.is_waiting = bool(wanted)
        self._empty_steps.note(is_empty=not rows)
        if self.parameters.are_drawn:
            self.parameters.note(rows.values())
        if wanted:
            if self.timer is not None:
                self.timer.begin()
            self._submit(asked, size)
        else:
            self.receiver.act(nobody_waits)

    def check_early(self, rows: Mapping[str, TimestepBatch]) -> None:
        """Raise BadStepError if an agent of these rows is in the newest step, too.

        Args:
            rows: {behaviour: its rows} of the step after the newest one.
        """
        for name in self.with_rows:
            if name in rows:
                self._agents[name].require_absent(
                    rows[name], who=self.label, step_number=self.step_number
                )

    def ask_again(self, read: Callable[[], Mapping[str, TimestepBatch]], *, size: int) -> None:
        """Take the newest step once more; what no batch had taken before a restart is requested.

        Args:
            read: reads its rows, if they are needed; see `ask`, also for what is raised.
            size: bytes that they take while they wait.
        """
        missing = [name for name in self._wanted if name not in self.answers]
        lost = [name for name in missing if self._agents[name].asked is None]
        if lost:
            self._submit(self._requests(lost, read(), self.step_number), size)

    def _requests(
        self, names: Iterable[str], rows: Mapping[str, TimestepBatch], step_number: int
    ) -> list[tuple[Agents, StepOrder, Request]]:
        """A request for each of these, which changes nothing yet."""
        asked = []
        for name in names:
            agents = self._agents[name]
            timesteps = rows.get(name, agents.behaviour.no_rows)
            if self._has_forgotten:
                timesteps = agents.order.welcome_strays(timesteps)
            order, num_actions, is_usual = agents.order_after(
                timesteps, asker=self, in_turns=self.keeps_earlier
            )
            request = Request(
                self.id, self, self._rank, name, step_number, timesteps, num_actions, is_usual
            )
            asked.append((agents, order, request))
        return asked

    def _submit(self, asked: list[tuple[Agents, StepOrder, Request]], size: int) -> None:
        answer_bytes = 0
        for agents, _, request in asked:
            answer_bytes += request.num_actions * agents.action_bytes
        if answer_bytes > self._max_answer_bytes:
            raise too_long(self.label, answer_bytes, self._max_answer_bytes)
        self._bytes.hold_newest(size + answer_bytes)
        self._answer_bytes = answer_bytes
        for agents, order, _ in asked:
            if order is not agents.order or len(order.agent_id) != agents.claimed:
                agents.claim(len(order), who=self.label)
        for agents, order, _ in asked:
            agents.asked = order
        # Last, for a batcher may answer at once.
        for agents, _, request in asked:
            agents.behaviour.batcher.submit(request)

    def answer(
        self, behaviour: str, step_number: int, actions: ActionBatch, taken: Callable[[], None]
    ) -> bool:
        """Actions for the rows of one behaviour; sends all answers if these were the last missing.

        Ignored if it is gone, or does not wait for them any more.
        """
        agents = self._agents[behaviour]
        if step_number != self.step_number or agents.asked is None:
            return False
        agents.order, agents.asked = agents.asked, None
        self.answers[behaviour] = actions
        if len(self.answers) < len(self._wanted):
            return False
        self.is_waiting = False
        # The answers are kept until the next step.
        self._bytes.hold_newest(self._answer_bytes)
        if self.timer is not None:
            self.timer.end()
        return self.receiver.act(taken)

    def forget(self, *, before: int) -> None:
        """Go on from step `before` although the steps until then are lost.

        The trainer has come back from a checkpoint that is older than what it answered since. Which
        agents await an outcome is not known any more: see `StepOrder.welcome_strays`.
        """
        self._has_forgotten = True
        self.step_number = before - 1
        self._wanted = self.with_rows = ()
        self.answers = {}
        self.earlier = None
        self._bytes.hold_earlier(0)
        self.is_waiting = False
        for agents in self._agents.values():
            agents.forget(who=self.label)

    def keep_unread(self, size: int) -> None:
        """A step of so many bytes waits for its turn; 0: none does any more.

        Raises LimitError if there is no room for it.
        """
        if self.is_live:
            self._bytes.hold_unread(size)

    def state(self) -> State:
        """Its requests and answers. Requests that no batch has taken are left out: the
        simulator sends their step again.
        """
        return {
            **asdict(self.identity),
            "peer": self.peer,
            "behaviours": list(self._agents),
            "step_number": self.step_number,
            "wanted": list(self._wanted),
            "with_rows": list(self.with_rows),
            "has_forgotten": self._has_forgotten,
            "earlier": None if self.earlier is None else self.earlier.state(),
            "parameter_draws": self.parameters.draws,
            "reports": self.reports.state(),
            "agents": agents_state(self._agents, self.id, self.answers),
        }

    def load_state(self, state: State, *, deadline_s: float) -> None:
        """Wait, detached, for the simulator to come back to where `state` was taken."""
        self.step_number = state["step_number"]
        self._wanted = tuple(state["wanted"])
        self.with_rows = tuple(state["with_rows"])
        self._has_forgotten = state["has_forgotten"]
        # Checkpoints of before two steps could be unanswered have no such entry.
        if state.get("earlier") is not None:
            self.earlier = Answered.from_state(state["earlier"])
            self._bytes.hold_earlier(self.earlier.size)
        # Checkpoints of before there were samplers have none.
        self.parameters.go_on_after(state.get("parameter_draws", 0))
        if "reports" in state:
            self.reports.load_state(state["reports"])
        self.answers.update(load_agents(self._agents, state["agents"], who=self.label))
        self.is_waiting = len(self.answers) < len(self._wanted)
        self.detach(deadline_s=deadline_s)


def too_long(who: str, size: int, most: int) -> LimitError:
    """The refusal of a step of `who` whose answer would be larger than a message may be."""
    return LimitError(
        f"{who} sent a Step whose actions would take {size:,} bytes, and a message has at most "
        f"{most:,}; send fewer agents in a Step, or raise server.max_message_mib of the trainer"
    )
