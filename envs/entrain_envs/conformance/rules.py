"""The rules of the wire contract that the kit judges, each with what would show it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Rule:
    """One rule of proto/README.md or trainer.proto."""

    name: str
    asks: str
    """What a simulator does that keeps it."""

    shown_by: str
    """What must happen for the kit to judge it."""

    part: str
    """Part of the report that it stands in."""


_DIALS = "a simulator that dials"
_STEPS = "Steps with rows"
_AGAIN = "start the simulator again while the check waits, or give the check its COMMAND"
_WEBSOCKET = "a simulator that dials over WebSocket (--listen ws://...)"
_RECONNECT = "a simulator that dials again after its stream broke"

RULES: tuple[Rule, ...] = (
    Rule(
        "messages",
        "each message is a ConnectRequest with one of hello, step, goodbye",
        _DIALS,
        "greeting",
    ),
    Rule(
        "hello-first", "the first message of a stream is Hello, and no other is", _DIALS, "greeting"
    ),
    Rule("version", "Hello's min_version and max_version include 1", _DIALS, "greeting"),
    Rule(
        "identity",
        "simulator and instance_id have 1 to 200 printable characters",
        _DIALS,
        "greeting",
    ),
    Rule(
        "behaviours",
        "Hello's behaviours have names of their own and specs without contradiction",
        _DIALS,
        "greeting",
    ),
    Rule(
        "new-session", "the first Hello of a process has no resume_session_id", _DIALS, "greeting"
    ),
    Rule("token", "the call shows the token", "the option --token-file", "greeting"),
    Rule("subprotocol", "the handshake offers entrain.v1", _WEBSOCKET, "greeting"),
    Rule("binary", "each message is one binary message", _WEBSOCKET, "greeting"),
    Rule("plays-on", "each Act is followed by the next Step, until Goodbye", _STEPS, "steps"),
    Rule("sequence", "Steps are numbered 1, 2, 3, ... within a session", _STEPS, "steps"),
    Rule(
        "waits",
        "no Step is sent before the Act of the one before, if Welcome allows one",
        _STEPS,
        "steps",
    ),
    Rule(
        "two-steps",
        "two unanswered Steps have no agent in common, if Welcome allows two",
        "a Hello with max_unanswered_steps 2",
        "steps",
    ),
    Rule(
        "obeys-one",
        "max_unanswered_steps of Welcome is obeyed where it is less than Hello's",
        "a Hello with max_unanswered_steps 2 that begins anew after its session was lost",
        "steps",
    ),
    Rule("known-behaviours", "rows are of declared behaviours, one entry each", _STEPS, "steps"),
    Rule(
        "new-behaviours",
        "a behaviour that Hello did not name is declared with its first rows",
        "a Step with new_behaviours",
        "steps",
    ),
    Rule(
        "row-counts", "every array of a behaviour has one row for each agent_id", _STEPS, "arrays"
    ),
    Rule(
        "dtypes",
        "agent_id is int64, step_type uint8, reward float32, observations as Hello says",
        _STEPS,
        "arrays",
    ),
    Rule(
        "shapes",
        "each row of an observation has as many numbers as Hello's shape",
        _STEPS,
        "arrays",
    ),
    Rule(
        "byte-order",
        "numbers are little-endian",
        "agents or observations whose numbers are not 0",
        "arrays",
    ),
    Rule(
        "row-major",
        "arrays are row after row: all numbers of one agent, then those of the next",
        "three agents or more of which one alone begins an episode, while the others' "
        "observations change little; or bounds that differ between the numbers",
        "arrays",
    ),
    Rule("finite", "rewards and observations are finite", _STEPS, "arrays"),
    Rule(
        "mask",
        "action_mask has a byte, 0 or 1, for each choice, and allows one in each branch",
        "an action_mask",
        "arrays",
    ),
    Rule(
        "groups",
        "group_id and group_reward have a row for each agent; FIRST rows earn 0",
        "agents with groups",
        "arrays",
    ),
    Rule(
        "late-rows",
        "late has a byte, 0 or 1, for each row, and 0 in FIRST rows",
        "a simulator with deadlines whose fallback acted",
        "arrays",
    ),
    Rule(
        "statistics",
        "statistics have printable names, once each, and finite values",
        "a Step with statistics",
        "arrays",
    ),
    Rule("step-types", "step_type is 1 FIRST, 2 MID, 3 TERMINATED or 4 TRUNCATED", _STEPS, "rows"),
    Rule(
        "row-order",
        "an agent's rows are FIRST, MID ..., TERMINATED or TRUNCATED, FIRST ...",
        _STEPS,
        "rows",
    ),
    Rule(
        "agent-ids",
        "an id is one living agent: no second row in a Step but FIRST after an end",
        _STEPS,
        "rows",
    ),
    Rule("first-reward", "reward is 0 in FIRST rows", "a FIRST row", "rows"),
    Rule(
        "max-agents",
        "no more agents live than Hello's max_agents",
        "a Hello with max_agents",
        "rows",
    ),
    Rule(
        "two-rows",
        "an episode's end and the next one's FIRST may share a Step, the end first",
        "an episode that ends and begins in one Step",
        "rows",
    ),
    Rule(
        "final-observation",
        "the last row of an episode has the true final observation",
        "an episode that ends, and another that begins",
        "rows",
    ),
    Rule(
        "respawn",
        "an agent whose episode ended in one Step begins the next one in a later Step",
        "an agent that is away for a while after its end",
        "rows",
    ),
    Rule(
        "leave-and-return",
        "an agent that is absent from a Step goes on with a MID row",
        "an agent that does not ask for a decision in each Step",
        "rows",
    ),
    Rule("late-act", "an Act that comes late is waited for", _STEPS, "acts"),
    Rule("pongs", "pings are answered, also while an Act is waited for", _WEBSOCKET, "acts"),
    Rule(
        "says-late",
        "after an Act that came later than deadline_ms, the rows of its agents have late = 1",
        "a behaviour with deadline_ms",
        "acts",
    ),
    Rule("unknown-fields", "fields of the future in Welcome and Act are ignored", _STEPS, "acts"),
    Rule(
        "parameters",
        "environment parameters may change in an Act, also ones without meaning",
        _STEPS,
        "acts",
    ),
    Rule("long-act", "an Act of 1 MiB is taken", _STEPS, "acts"),
    Rule(
        "inquires",
        "a Step without Act for 30 s is asked about with Inquire, on a second connection",
        "a --timeout of 90 or more, so that the check can be silent for so long",
        "acts",
    ),
    Rule(
        "gives-up",
        "where Inquire says NOT_HELD, the stream is given up, and the Step sent again on another",
        "a simulator that inquires, and a --timeout of 120 or more",
        "acts",
    ),
    Rule("message-length", "no message is longer than Welcome's max_message_bytes", _AGAIN, "acts"),
    Rule(
        "same-instance",
        "every Hello of one process has the same instance_id, and that of another a new one",
        _RECONNECT,
        "life",
    ),
    Rule(
        "resume",
        "after a broken stream, a Hello with resume_session_id of the last Welcome",
        _RECONNECT,
        "life",
    ),
    Rule(
        "names-all",
        "the Hello of a resumed session names every behaviour declared so far",
        _RECONNECT,
        "life",
    ),
    Rule(
        "sends-again",
        "Steps without Act are sent again: unchanged, in order, same numbers",
        _RECONNECT,
        "life",
    ),
    Rule("waits-to-dial", "dials again with a pause that grows, not at once", _RECONNECT, "life"),
    Rule(
        "begins-anew",
        "where the session is lost: numbers from 1, FIRST rows",
        "a simulator that goes on after Welcome says that its session is lost",
        "life",
    ),
    Rule("stopped", "after Close STOPPED: Goodbye, or dials again and resumes", _STEPS, "life"),
    Rule("completed", "after Close COMPLETED: Goodbye, and the stream ends", _STEPS, "life"),
    Rule("stays-away", "after Close COMPLETED, it does not dial again", _STEPS, "life"),
    Rule("refused", "after INVALID_ARGUMENT, it does not dial again", _AGAIN, "life"),
    Rule("closed-at-once", "Close COMPLETED may come in place of Welcome", _AGAIN, "life"),
)
"""In the order of the report."""

BY_NAME: Mapping[str, Rule] = MappingProxyType({rule.name: rule for rule in RULES})
