"""A run of several ranks in one process, for tests: each rank is a training run of one event loop.

They meet in a store in memory, connect over loopback, and average gradients by gloo, as processes
do. Their simulators are threads.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch._C._distributed_c10d import HashStore

from entrain.app.launcher import Launcher
from entrain.app.rank_meeting import Meeting
from entrain.app.rank_place import RankPlace, config_of_rank
from entrain.app.rank_states import of_rank, require_size
from entrain.app.together import Together
from entrain.app.training import TrainingRun
from entrain.config.run import RunConfig
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.silent_display import SilentDisplay
from entrain.run.summary import Outcome
from live_run import Moment


@dataclass
class Sitting:
    """What came of one sitting of all ranks."""

    runs: Sequence[TrainingRun]
    outcomes: Sequence[Outcome | BaseException]
    togethers: Sequence[Together] = field(default_factory=tuple)


class RankedRun:
    """One run of several ranks, in one or more sittings."""

    def __init__(self, config: RunConfig, folder: Path, *, size: int = 2) -> None:
        self.config = config
        self._size = size
        self.folder = RunFolder.create(folder / "runs", "run")
        self._others = [
            RunFolder.create(folder / "others", f"rank-{rank}") for rank in range(1, size)
        ]

    @property
    def checkpoints(self) -> CheckpointStore:
        """Of rank 0."""
        return CheckpointStore(self.folder.checkpoints, keep=3)

    def make(self, *, resumed: bool) -> Sitting:
        """The runs of all ranks, which begin with `sit`."""
        restored = self.checkpoints.load_newest() if resumed else None
        if restored is not None:
            require_size(restored, self._size)
        store = HashStore()
        runs, togethers = [], []
        for rank, folder in enumerate([self.folder, *self._others]):
            place = RankPlace(rank, self._size, "127.0.0.1")
            together = Together(Meeting(place, store), self.config)
            togethers.append(together)
            runs.append(
                TrainingRun(
                    config_of_rank(self.config, place),
                    folder,
                    SilentDisplay(),
                    launcher=lambda _address: Launcher([], environment={}),
                    restored=None if restored is None else of_rank(restored, rank),
                    together=together,
                )
            )
        return Sitting(runs, (), togethers)

    async def sit(
        self,
        *,
        stop_at: Moment | None = None,
        stopped_rank: int = 0,
        resumed: bool = False,
    ) -> Sitting:
        """One sitting, until the run ends or one rank is told to stop."""
        sitting = self.make(resumed=resumed)
        stops = [asyncio.Event() for _ in sitting.runs]

        async def watch() -> None:
            run = sitting.runs[stopped_rank]
            # Not before all ranks are there.
            while stop_at is not None and not (run.address and stop_at(run)):
                await asyncio.sleep(0.001)
            if stop_at is not None:
                stops[stopped_rank].set()

        watcher = asyncio.create_task(watch())
        outcomes = await asyncio.gather(
            *(run.run(stop) for run, stop in zip(sitting.runs, stops, strict=True)),
            return_exceptions=True,
        )
        watcher.cancel()
        return Sitting(sitting.runs, outcomes, sitting.togethers)
