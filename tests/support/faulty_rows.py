"""Simulators that break one rule each, of what arrays and rows hold."""

import numpy as np

from entrain_envs.wire import trainer_pb2 as pb
from support.faulty_simulators import Good, OtherHello, breaks
from support.sample_simulator import FIRST, MID, TERMINATED, Group, Row


class Rewrites(Good):
    """Changes what is written of a walker's rows, from Step 3 on."""

    def rows(self, rows: list[Row]) -> pb.BehaviourStep:
        part = super().rows(rows)
        if self.sequence >= 3:
            self.change(part, rows)
        return part

    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        raise NotImplementedError


def bodies(rows: list[Row], dtype: str = "<f4") -> bytes:
    return np.asarray([row.body for row in rows], dtype).tobytes()


# -- arrays


@breaks("row-counts", "reward has 12 bytes; expected")
class ForgetsARewardOfAnEnd(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.reward = np.full(3, 1.0, "<f4").tobytes()


@breaks("row-counts", "rows of 3 numbers, for", "observation")
class ForgetsAnObservation(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.observations[0] = bodies(rows[:-1])


@breaks("dtypes", "They are the bytes of float64")
class SendsDoubles(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.observations[0] = bodies(rows, "<f8")


@breaks("dtypes", "They are the bytes of float64", "reward")
class SendsDoubleRewards(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.reward = np.asarray([row.reward for row in rows], "<f8").tobytes()


@breaks("dtypes", "They are the bytes of int32", "ids")
class SendsShortIds(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.agent_id = np.asarray([row.agent for row in rows], "<i4").tobytes()


@breaks("shapes", "each row has 4 numbers, off by one in a dimension")
class SendsOneNumberMore(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.observations[0] = np.asarray([[*row.body, 1.0] for row in rows], "<f4").tobytes()


@breaks("shapes", "0 observations arrived; expected 1", "none")
class SendsNoObservation(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        del part.observations[:]


@breaks("byte-order", "with their bytes in the other order are")
class SendsBigEndian(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.observations[0] = bodies(rows, ">f4")


@breaks("byte-order", "with its bytes in the other order is", "ids")
class SendsBigEndianIds(Good):
    def rows(self, rows: list[Row]) -> pb.BehaviourStep:
        part = super().rows(rows)
        part.agent_id = np.asarray([row.agent for row in rows], ">i8").tobytes()
        return part


@breaks("row-major", "read column after column")
class SendsColumns(Good):
    def rows(self, rows: list[Row]) -> pb.BehaviourStep:
        part = super().rows(rows)
        part.observations[0] = np.asarray([row.body for row in rows], "<f4").T.tobytes()
        return part


@breaks("finite", "holds nan")
class SendsNan(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.observations[0] = bodies([*rows[:-1], Row(0, 0, 0, [1.0, float("nan"), 1.0])])


@breaks("mask", "expected 0 or 1")
class MasksWith255(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.action_mask = bytes(255 * value for value in part.action_mask)


@breaks("mask", "action_mask has", "short")
class MasksOneBranch(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.action_mask = bytes([1] * 3 * len(rows))


@breaks("mask", "allows none of the 2 choices of branch 1", "nothing")
class AllowsNothing(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.action_mask = bytes([1, 1, 1, 0, 0] * len(rows))


@breaks("groups", "group_id has 8 bytes")
class SendsOneGroup(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.group_id = bytes(8)


@breaks("groups", "0 in FIRST rows", "first")
class RewardsGroupsAtFirst(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.group_reward = np.full(len(rows), 1.0, "<f4").tobytes()


@breaks("late-rows", "expected 0 or 1, and 0 in FIRST rows")
class IsLateAtFirst(Good):
    def rows(self, rows: list[Row]) -> pb.BehaviourStep:
        part = super().rows(rows)
        part.late = bytes([1] * len(rows))
        return part


@breaks("late-rows", "late has 1 bytes", "short")
class SaysLateOnce(Rewrites):
    def change(self, part: pb.BehaviourStep, rows: list[Row]) -> None:
        part.late = bytes(1)


@breaks("statistics", "'coins\\n'")
class NamesOddly(Good):
    def finished(self, step: pb.Step) -> pb.Step:
        for statistic in step.statistics:
            statistic.name += "\n"
        return step


@breaks("statistics", "expected finite values", "nan")
class CountsNan(Good):
    def finished(self, step: pb.Step) -> pb.Step:
        for statistic in step.statistics:
            statistic.values.append(float("nan"))
        return step


# -- rows


@breaks("step-types", "step_type holds 0")
class CountsTypesFromZero(Good):
    def rows(self, rows: list[Row]) -> pb.BehaviourStep:
        part = super().rows(rows)
        part.step_type = bytes(row.step_type - 1 for row in rows)
        return part


@breaks("row-order", "MID although no episode of it has begun")
class BeginsWithMid(Good):
    """Of agents that come later, as many engines do it."""

    def play(self, group: Group) -> list[Row]:
        rows = super().play(group)
        if self.sequence == 11:
            rows.append(Row(90, MID, 1.0, [1.0, 1.0, 1.0]))
        elif self.sequence > 11 and group is self.groups[0]:
            rows.append(Row(90, MID, 1.0, [1.0, 1.0, 1.1]))
        return rows


@breaks("agent-ids", "FIRST while its episode runs")
class ReusesAnId(Good):
    """A new agent is given the number of one that lives."""

    def play(self, group: Group) -> list[Row]:
        rows = super().play(group)
        if self.sequence in {10, 11} and group is self.groups[0]:
            for row in rows:
                if row.agent == 4 and row.step_type == MID:
                    row.step_type, row.reward = FIRST, 0.0
        return rows


@breaks("agent-ids", "two rows in one Step", "twice")
class GivesTwoOneId(Good):
    def play(self, group: Group) -> list[Row]:
        rows = super().play(group)
        same = [row for row in rows if row.step_type == MID]
        return rows + same[:1]


@breaks("respawn", "MID after its episode ended")
class RespawnsWithMid(Good):
    """Agent 1 begins its next episode in a later Step."""

    def play(self, group: Group) -> list[Row]:
        rows = super().play(group)
        for row in rows:
            if row.agent == 1 and row.step_type == FIRST and self.sequence > 3:
                row.step_type = MID
        return rows


@breaks("leave-and-return", "FIRST while its episode runs")
class ReturnsWithFirst(Good):
    """Agent 2 is away now and then."""

    def play(self, group: Group) -> list[Row]:
        rows = super().play(group)
        for row in rows:
            if row.agent == 2 and group.steps % 3 == 1 and row.step_type == MID:
                row.step_type, row.reward = FIRST, 0.0
        return rows


@breaks("first-reward", "in a FIRST row; expected 0")
class RewardsFirst(Good):
    def rows(self, rows: list[Row]) -> pb.BehaviourStep:
        part = super().rows(rows)
        part.reward = np.asarray([1.0 for _ in rows], "<f4").tobytes()
        return part


@breaks("max-agents", "Hello's max_agents is 2")
class HasMoreAgents(OtherHello):
    def change_hello(self, hello: pb.Hello) -> None:
        hello.max_agents = 2


@breaks("max-agents", "more than 100,000 agents live", "far too many")
class NeverEndsAgents(OtherHello):
    def change_hello(self, hello: pb.Hello) -> None:
        hello.max_agents = 0
        hello.max_unanswered_steps = 0

    def rows(self, rows: list[Row]) -> pb.BehaviourStep:
        count = 100_001
        return pb.BehaviourStep(
            behaviour="walker",
            agent_id=np.arange(count, dtype="<i8").tobytes(),
            step_type=bytes([FIRST]) * count,
            reward=bytes(4 * count),
            observations=[bytes(12 * count)],
        )


@breaks("two-rows", "FIRST before T")
class BeginsBeforeTheEnd(Good):
    def play(self, group: Group) -> list[Row]:
        rows = super().play(group)
        for index in range(len(rows) - 1):
            this, following = rows[index : index + 2]
            if this.agent == following.agent and following.step_type == FIRST:
                rows[index : index + 2] = following, this
        return rows


@breaks("final-observation", "that of the next one's FIRST row")
class SendsTheNextFirst(Good):
    """As vector environments do that reset by themselves."""

    def play(self, group: Group) -> list[Row]:
        rows = super().play(group)
        first = {row.agent: row.body for row in rows if row.step_type == FIRST}
        for row in rows:
            if row.step_type >= TERMINATED and row.agent in first:
                row.body = first[row.agent]
            elif row.step_type >= TERMINATED:
                row.body = next(w for w in group.walkers if w.number == row.agent).body
        return rows


@breaks("final-observation", "that of the row before", "stale")
class SendsTheRowBefore(Good):
    def play(self, group: Group) -> list[Row]:
        rows = super().play(group)
        before = self.__dict__.setdefault("before", {})
        for row in rows:
            if row.step_type >= TERMINATED:
                row.body = before[row.agent]
            before[row.agent] = row.body
        return rows
