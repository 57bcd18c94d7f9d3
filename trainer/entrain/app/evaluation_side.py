"""The simulators of evaluations while training: who takes part, and where they dial.

They take part in nothing else: participants, slots, seeds and counters of training are others. What
is launched for evaluations dials a port of its own, so that any simulator can be, in any language.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from entrain.app.build import environment_parameters
from entrain.app.launch_plan import plan
from entrain.app.launcher import Launcher
from entrain.app.program_environments import ProgramEnvironment, processes_of
from entrain.app.socket_address import VARIABLE
from entrain.config.environment_parameters import values_at
from entrain.config.evaluation import PREFIX, EvaluationConfig
from entrain.config.run import RunConfig, ServerConfig
from entrain.native.address import TcpAddress, parse_address
from entrain.native.front import NativeFront
from entrain.run.folder import RunFolder
from entrain.serving.behaviours import Behaviours
from entrain.serving.front import Ending
from entrain.serving.participants import Participants

_SEEDS: Final = 32_452_843
"""Between the seeds of a run and of its evaluations."""

_ANY_PORT: Final = "localhost:0"


class EvaluationSide:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        config: RunConfig,
        options: EvaluationConfig,
        folder: RunFolder,
        environments: Sequence[ProgramEnvironment] = (),
    ) -> None:
        """Nobody takes part yet.

        Args:
            config: of the run.
            options: of its evaluations.
            folder: of the run.
            environments: of a Python program, which are learned from.
        """
        self.options = options
        self._logs = folder.simulators
        self._launch = options.simulators(config.simulators.launch)
        # What is to be launched was said otherwise, or is one more of each that is learned from.
        copied = environments if options.launch is None else ()
        self._environments = [each.named(f"{PREFIX}{each.name}") for each in copied]
        self.seed = config.seed + _SEEDS
        """Of evaluations."""
        server = config.server.model_copy(update=_of_its_own(config.server))
        self.participants = Participants(
            server,
            Behaviours(
                server,
                accepts=lambda behaviour: config.policy_for(behaviour) is not None,
                policies=tuple(config.policies),
            ),
            seed=self.seed,
            expect=sum(entry.count for entry in self._launch) + len(self._environments) or 1,
            environment_parameters=values_at(environment_parameters(config), {}),
        )
        self._front = NativeFront(
            self.participants,
            run_id=f"{folder.name}-evaluation",
            # Who says the role as well is right here, too.
            evaluation=self.participants,
        )

    @property
    def are_launched(self) -> bool:
        """Whether the run starts some of them."""
        return bool(self._launch or self._environments)

    @property
    def behaviours(self) -> Sequence[str]:
        """Those that they have brought."""
        return [it.name for it in self.participants.behaviours]

    async def start(self, launcher: Launcher) -> None:
        """Listen, and let `launcher` start them with the others.

        Raises:
            ServeError: nothing can be listened on.
        """
        if not self.are_launched:
            return
        address = await self._front.start()
        told: Mapping[str, str] = {"ENTRAIN_ADDRESS": address}
        if self._front.websocket_url:
            told = {**told, VARIABLE: self._front.websocket_url}
        logs = self._logs
        launcher.add(
            (
                *plan(self._launch, address=address, logs=logs, variables=told, are_needed=False),
                *processes_of(self._environments, logs=logs, variables=told, are_needed=False),
            )
        )

    async def stop(self, ending: Ending, message: str) -> None:
        """Tell them that the run ends, and hand out no more batches."""
        await self._front.stop(ending, message)


def side_of(
    config: RunConfig,
    folder: RunFolder,
    *,
    rank: int,
    environments: Sequence[ProgramEnvironment] = (),
) -> EvaluationSide | None:
    """Makes the side of a run that makes evaluations; of several ranks the first makes them."""
    if config.evaluation is None or rank:
        return None
    return EvaluationSide(config, config.evaluation, folder, environments)


def _of_its_own(server: ServerConfig) -> Mapping[str, object]:
    """Where they dial: a port, or two, that nobody else has, on the host of the run."""
    asked = parse_address(server.address)
    address = asked.at(asked.host, 0) if isinstance(asked, TcpAddress) else _ANY_PORT
    return {"address": address, "websocket": None if server.websocket is None else _ANY_PORT}
