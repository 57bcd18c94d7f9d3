"""What a trainer says when a simulator joins, and whether a Step is short enough for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from entrain_envs.errors import MisfitError
from entrain_envs.spec import BehaviourSpec
from entrain_envs.wire import trainer_pb2 as pb


@dataclass(frozen=True)
class Welcome:
    """What the trainer said when this simulator joined."""

    version: int
    """The protocol version both sides speak."""

    session_id: str
    """Names this conversation."""

    run_id: str
    """Names the training run."""

    seed: int
    """For the simulator's own randomness."""

    environment_parameters: Mapping[str, float]
    """Settings of the environment itself, by name."""

    resumed: bool
    """Whether an earlier session goes on."""

    max_message_bytes: int = 0
    """Longest message that the trainer takes; 0 if it did not say."""

    def check_length(
        self, request: pb.ConnectRequest, specs: Mapping[str, BehaviourSpec], *, who: str
    ) -> None:
        """Raise MisfitError if the trainer would not take this Step; send nothing then.

        Args:
            request: holds a Step.
            specs: {behaviour: its spec}.
            who: the simulator, for the message.
        """
        # To count exactly is to make a copy of the message, so first a bound from above.
        at_most = sum(
            len(part.step_type) * specs[part.behaviour].row_bytes
            for part in request.step.behaviours
        )
        if not 0 < self.max_message_bytes < at_most:
            return
        size = request.ByteSize()
        if size > self.max_message_bytes:
            raise MisfitError(
                f"Step {request.step.sequence} of '{who}' has {size:,} bytes, and the trainer "
                f"takes messages of up to {self.max_message_bytes:,}; send fewer agents in a "
                "message or smaller images, or raise server.max_message_mib of the trainer"
            )


NOT_JOINED = Welcome(0, "", "", 0, MappingProxyType({}), resumed=False)
