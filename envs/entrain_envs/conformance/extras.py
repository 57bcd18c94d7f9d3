"""Judges what may go beside the rows of a behaviour: groups, and rows that came late."""

import numpy as np

from entrain_envs.conformance.results import Results
from entrain_envs.wire import trainer_pb2 as pb


def have_extras(message: pb.BehaviourStep, rows: int, results: Results) -> bool:
    """Judge them; false if the message cannot be read because of them.

    Args:
        message: of one behaviour.
        rows: how many it has.
        results: where to note it.
    """
    for rule, field, content, size in (
        ("groups", "group_id", message.group_id, 8),
        ("groups", "group_reward", message.group_reward, 4),
        ("late-rows", "late", message.late, 1),
    ):
        if not content:
            continue
        if len(content) != rows * size:
            results.failed(
                rule,
                f"behaviour '{message.behaviour}', {field} has {len(content)} bytes; expected "
                f"{rows * size}, or none",
                f"write {field} for every row (0 for none), or leave it out",
            )
            return False
        if rule == "groups":
            results.passed(rule)
    _judge_earned(message, results)
    _judge_late(message, results)
    return True


def _judge_earned(message: pb.BehaviourStep, results: Results) -> None:
    earned = np.frombuffer(message.group_reward, "<f4")
    first = np.frombuffer(message.step_type, np.uint8) == pb.STEP_TYPE_FIRST
    if len(earned) and not (np.isfinite(earned).all() and not earned[first].any()):
        results.failed(
            "groups",
            f"behaviour '{message.behaviour}', group_reward is {earned.tolist()[:8]}; expected "
            "finite numbers, 0 in FIRST rows",
            "give the reward in the row of the action's outcome",
        )


def _judge_late(message: pb.BehaviourStep, results: Results) -> None:
    late = np.frombuffer(message.late, np.uint8)
    if not len(late):
        return
    first = np.frombuffer(message.step_type, np.uint8) == pb.STEP_TYPE_FIRST
    results.check(
        "late-rows",
        not late[first].any() and late.max() <= 1,
        f"behaviour '{message.behaviour}', late is {late.tolist()[:8]}; expected 0 or 1, and 0 in "
        "FIRST rows",
        "write 1 in the row after a fallback acted: no action leads to a FIRST row",
    )
