"""A game of ML-Agents that keeps every rule, and counts what it sent and was given."""

import threading
import time

from entrain_envs.simulators.balance_ball import BalanceBall
from support.unity_game import Ledger, UnityGame
from support.unity_player import dialled


class GoodGame:
    """Runs in a thread, from `start` until `leave`."""

    def __init__(self, port: int, *, balls: int = 2, behaviour: str = "ball") -> None:
        self.longest_wait_s = 0.0
        """For one answer."""
        exchange, self._hang_up = dialled(port)
        self._exchange = exchange
        environment = BalanceBall(count=balls, behaviour=behaviour)
        self._game = UnityGame(environment, self._timed)
        self._may_leave = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="good game", daemon=True)

    @property
    def ledger(self) -> Ledger:
        """What it counted."""
        return self._game.ledger

    @property
    def exchanges(self) -> int:
        """Messages of records that were answered."""
        return self.ledger.exchanges

    @property
    def opened(self) -> int:
        """Actions that it was given."""
        return self.ledger.opened

    @property
    def closed(self) -> int:
        """Outcomes that it sent in messages that were answered."""
        return self.ledger.closed

    @property
    def dropped(self) -> int:
        """Actions whose outcome it never sent."""
        return self.opened - self.closed

    def start(self) -> None:
        """Say who it is, and act until `leave`."""
        self._thread.start()

    def leave(self) -> None:
        """Leave after the next answer; raises what went wrong meanwhile."""
        self._may_leave.set()
        self._thread.join(60.0)
        assert not self._thread.is_alive(), "the good game is not answered"
        if self._failure is not None:
            raise self._failure

    def _timed(self, request: bytes) -> bytes:
        began_s = time.monotonic()
        reply = self._exchange(request)
        if self.exchanges:
            self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - began_s)
        return reply

    def _run(self) -> None:
        try:
            rows = self._game.begin()
            while not self._may_leave.is_set():
                rows = self._game.step(rows)
            self._game.leave()
        except BaseException as error:
            self._failure = error
        finally:
            self._hang_up()
