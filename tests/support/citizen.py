"""A good citizen: a simulator that keeps every rule, and counts what it sent and was given."""

import threading
import time
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self

from entrain_envs.client import TrainerClient
from entrain_envs.errors import TrainerClosed
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.timestep import TimestepBatch


class Citizen:
    """Runs in a thread, from the beginning of a `with` block until `leave` or the block's end."""

    def __init__(
        self,
        address: str,
        *,
        name: str = "citizen",
        agents: int = 2,
        token: str = "",
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.exchanges = 0
        """Steps that were answered."""
        self.opened = 0
        """Actions that it was given."""
        self.closed = 0
        """Outcomes that it sent in Steps that were answered."""
        self.longest_wait_s = 0.0
        """For one answer."""
        self._ball = BalanceBall(count=agents)
        self._client = TrainerClient(
            address,
            self._ball.behaviours,
            simulator=name,
            token=token,
            **{"reconnect_s": 10.0, **options},
        )
        self._waits_since: float | None = None
        self._may_leave = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()

    @property
    def waits_s(self) -> float:
        """How long it has waited for the answer that it waits for now."""
        since = self._waits_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def dropped(self) -> int:
        """Actions whose outcome it never sent."""
        return self.opened - self.closed

    def start(self) -> None:
        """Join, and act until `leave`."""
        self._thread.start()

    def leave(self) -> None:
        """Say Goodbye after the next answer; raises what went wrong meanwhile."""
        self._may_leave.set()
        self._thread.join(60.0)
        assert not self._thread.is_alive(), f"the citizen waits for {self.waits_s:.1f} s already"
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with self._client:
                seed = self._client.connect().seed
                timesteps = self._ball.reset(seed=seed, parameters={})["ball"]
                while not self._may_leave.is_set():
                    timesteps = self._exchange(timesteps)
        except TrainerClosed:
            return
        except BaseException as error:
            self._failure = error

    def _exchange(self, timesteps: TimestepBatch) -> TimestepBatch:
        acting = int(timesteps.needs_action.sum())
        began_s = self._waits_since = time.monotonic()
        actions = self._client.exchange({"ball": timesteps})
        self._waits_since = None
        self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - began_s)
        assert len(actions["ball"].continuous) == acting
        self.exchanges += 1
        self.opened += acting
        # Each row is an outcome, but for those that begin an episode.
        self.closed += int((timesteps.step_type != 1).sum())
        return self._ball.step(actions)["ball"]
