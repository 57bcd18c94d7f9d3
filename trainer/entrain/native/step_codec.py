"""Reads the Steps of one simulator into arrays, and writes its Acts."""

from collections.abc import Mapping, Sequence

from entrain.errors import BadStepError
from entrain.quoting import listed, shortened
from entrain.serving.participant import Participant
from entrain_envs.codec import BehaviourCodec
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.magnitudes import Magnitudes
from entrain_envs.timestep import ActionBatch, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb


class StepCodec:
    """See the module. Owned by an `Exchange`."""

    def __init__(self, participant: Participant, magnitudes: Magnitudes) -> None:
        """The simulator knows all environment parameters as they are now.

        Args:
            participant: the simulator; its behaviours say what a Step may hold.
            magnitudes: of the numbers that it may send.
        """
        self._participant = participant
        self._magnitudes = magnitudes
        self._codecs: dict[str, BehaviourCodec] = {}
        self._parameters = participant.parameters
        self._known_parameters = self._parameters.values

    def note_welcome(self) -> None:
        """A Welcome told the simulator all environment parameters."""
        self._known_parameters = self._parameters.values

    def read(self, step: pb.Step) -> dict[str, TimestepBatch]:
        """The rows of each behaviour that has any; BadStepError if they do not fit its spec."""
        rows: dict[str, TimestepBatch] = {}
        seen: set[str] = set()
        for message in step.behaviours:
            name = message.behaviour
            codec = self._codecs.get(name) or self._make_codec(name)
            if name in seen:
                raise BadStepError(
                    f"{self._participant.label} sent behaviour '{name}' twice in Step "
                    f"{step.sequence}; put all its rows into one entry"
                )
            seen.add(name)
            try:
                timesteps = codec.decode_timesteps(message)
            except EntrainEnvsError as error:
                raise BadStepError(f"{self._participant.label}: {error}") from None
            if len(timesteps.agent_id):
                rows[name] = timesteps
        return rows

    def _make_codec(self, name: str) -> BehaviourCodec:
        behaviours = self._participant.behaviours
        if name not in behaviours:
            raise BadStepError(
                f"{self._participant.label} sent rows of behaviour '{shortened(name)}', unknown "
                f"from its Hello (which has: {listed(list(behaviours))}); declare every behaviour "
                "in Hello, or in new_behaviours of a Step"
            )
        self._codecs[name] = BehaviourCodec(behaviours[name].spec, self._magnitudes)
        return self._codecs[name]

    def write(
        self, sequence: int, with_rows: Sequence[str], answers: Mapping[str, ActionBatch]
    ) -> bytes:
        """The Act of a Step, with the parameters that the simulator does not know yet.

        Args:
            sequence: of the Step.
            with_rows: the behaviours that had rows in it, in its order.
            answers: {behaviour: actions for its rows}.
        """
        response = pb.ConnectResponse()
        act = response.act
        act.sequence = sequence
        for name in with_rows:
            codec = self._codecs.get(name) or self._make_codec(name)
            act.behaviours.append(codec.encode_actions(answers[name]))
        if self._known_parameters is not self._parameters.values:
            changed = self._parameters.changed_since(self._known_parameters)
            act.changed_environment_parameters.update(changed)
            self._known_parameters = self._parameters.values
        return response.SerializeToString()
