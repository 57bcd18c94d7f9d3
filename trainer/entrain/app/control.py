"""Controls a run while it goes on: pauses it, changes its options, exports its policies."""

from collections.abc import Callable, Sequence

from entrain.app.changing import Changes
from entrain.app.checkpointing import Checkpointing
from entrain.app.exporting import Exporting, Form
from entrain.app.folder_keeper import ConfigKeeper
from entrain.app.pausing import Pause
from entrain.app.run_clock import RunClock
from entrain.app.trainers import Trainers
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.run.folder import RunFolder
from entrain.run.history import History
from entrain.serving.participants import Participants
from entrain.state import State


class RunControl:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        *,
        trainers: Trainers,
        participants: Participants,
        checkpointing: Checkpointing,
        clock: RunClock,
        keeper: ConfigKeeper,
        leave_out: Callable[[float], None],
        num_ranks: int = 1,
    ) -> None:
        """Start without requests.

        Args:
            config: that the run begins with.
            folder: of the run.
            trainers: of the run.
            participants: of the run.
            checkpointing: of the run.
            clock: of the run.
            keeper: writes the configuration down.
            leave_out: called with the seconds of each pause.
            num_ranks: of the run; one of several is neither paused nor changed.
        """
        self._num_ranks = num_ranks
        self._history = History(folder.history)
        self._trainers = trainers
        self.pause = Pause(trainers, participants, clock, leave_out=leave_out)
        """Whether the run stands still."""
        self.changes = Changes(
            config, trainers, participants.parameters, keeper=keeper, history=self._history
        )
        """Of options."""
        self.exporting = Exporting(folder, checkpointing)
        """Of policies."""

    def hold(self) -> None:
        """Pause the run; ConfigError if it is ending, or of several ranks."""
        self._require_one_rank("pause")
        if self.pause.hold():
            self._history.note("paused", env_steps=self._trainers.env_steps)

    def go_on(self) -> None:
        """Let it go on."""
        if self.pause.go_on():
            self._history.note("went on", env_steps=self._trainers.env_steps)

    def change(self, settings: Sequence[str], *, from_update: int | None = None) -> None:
        """See `Changes.ask`; ConfigError also in a run of several ranks."""
        self._require_one_rank("change")
        self.changes.ask(settings, from_update=from_update)

    def export(self, form: Form) -> None:
        """Write the policies as ONNX; ConfigError if that is being done, or there are none."""
        if not self._trainers.by_name:
            raise ConfigError("no simulator has brought a policy yet, so there is none to export")
        self.exporting.begin(form)

    def _require_one_rank(self, what: str) -> None:
        if self._num_ranks > 1:
            raise ConfigError(
                f"this run has {self._num_ranks} ranks, and {what} is for runs of one; stop it, "
                "and resume all ranks, with --set for other options"
            )

    async def end(self) -> None:
        """The run ends: no more batches are handed out."""
        self.pause.end()
        await self.exporting.end()

    def state(self) -> State:
        """The changes that still wait. A resumed run is not paused."""
        return {"changes": self.changes.state()}

    def load_state(self, state: State) -> None:
        """Go on with it."""
        self.changes.load_state(state["changes"])
