"""Says in plain words what may be wrong with a game that is silent, and what helps.

    not connected       the program is no build with ML-Agents, or loads, or dialled elsewhere
    connected, silent   it froze, or no agent asks for decisions
    without graphics    its cameras see nothing

Nothing here waits, reads a clock or ends a process: callers act on the findings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from entrain.quoting import listed
from entrain.unity.game_status import GameStatus, Stage
from entrain.unity.player_log import cause_in, last_words

SILENT = {
    Stage.GREETED: (
        "said who it is {s:g} s ago, and did not ask what to do. Usual causes: it froze or is "
        "paused; it refuses this trainer's version, which its log says"
    ),
    Stage.RESET: (
        "was told to begin {s:g} s ago, and no agent has asked for a decision. Usual causes: no "
        "agent is active in its scene; their Behavior Type is Inference Only or Heuristic Only "
        "instead of Default; they have no Decision Requester and nothing calls RequestDecision; "
        "it is paused"
    ),
    Stage.PLAYING: (
        "has sent nothing for {s:g} s since its last actions. Usual causes: it froze or is paused; "
        "it loads a scene; none of its agents asks for decisions any more"
    ),
    Stage.GONE: (
        "closed its connection without a goodbye, and has not come back for {s:g} s: it crashed or "
        "was killed. Start it again, or press Play"
    ),
}
"""{stage of a silent game: the words about it}."""


@dataclass(frozen=True)
class LaunchedGame:
    """A game that the trainer starts: its logs, and how it is started."""

    logs: tuple[Path, ...]
    """The engine's log, and the program's output."""

    is_headless: bool = False
    """Whether it is started without graphics."""


@dataclass(frozen=True)
class Finding:
    """A likely fault of one game."""

    name: str
    words: str
    """Words that follow the game's name in a message."""

    is_frozen: bool = False
    """Whether the trainer started it, and only starting it again can help."""


@dataclass
class _Silence:
    """How long a game has not moved on."""

    at: GameStatus
    since_s: float
    is_told: bool = False


@dataclass
class GameWatch:
    """Judges the statuses of games at each look. Owned by its caller."""

    timeout_s: float
    """How long a game may be silent."""

    launched: Mapping[str, LaunchedGame]
    """{game: how it is started} of the games that the trainer starts."""

    latest: Finding | None = None
    """The newest finding about a game that has not moved on since."""

    _silences: dict[str, _Silence] = field(default_factory=dict)
    _warned_of_images: set[str] = field(default_factory=set)

    def excuse(self) -> None:
        """Forget how long games have been silent: the run was paused until now."""
        self._silences.clear()
        self.latest = None

    def look(
        self, games: Sequence[GameStatus], running: Sequence[str], *, now_s: float
    ) -> Sequence[Finding]:
        """Returns the new findings since the last look; each is returned once.

        Args:
            games: all games of the run.
            running: names of those that were launched and whose program runs.
            now_s: of a clock that only goes forward.
        """
        findings: list[Finding] = []
        for game in games:
            findings += self._sees_nothing(game)
            if game.name in self.launched and game.name not in running:
                # The launcher tells how the program ended, and starts it again.
                self._silences.pop(game.name, None)
                continue
            findings += self._silent(game, now_s)
        return findings

    def _silent(self, game: GameStatus, now_s: float) -> Sequence[Finding]:
        silence = self._silences.get(game.name)
        if silence is None or silence.at != game:
            self._silences[game.name] = _Silence(game, now_s)
            if self.latest is not None and self.latest.name == game.name:
                self.latest = None
            return []
        if silence.is_told or now_s - silence.since_s < self.timeout_s or not _must_move(game):
            return []
        silence.is_told = True
        self.latest = self._judge(game)
        return [self.latest]

    def _judge(self, game: GameStatus) -> Finding:
        launched = self.launched.get(game.name)
        if game.stage is not Stage.ABSENT:
            words = SILENT[game.stage].format(s=self.timeout_s)
            return Finding(game.name, words, is_frozen=launched is not None)
        if launched is None:
            return Finding(game.name, _not_started(game, self.timeout_s))
        return Finding(game.name, _never_connected(game, launched, self.timeout_s))

    def _sees_nothing(self, game: GameStatus) -> Sequence[Finding]:
        launched = self.launched.get(game.name)
        is_blind = launched is not None and launched.is_headless and game.image_behaviours
        if not is_blind or game.name in self._warned_of_images:
            return []
        self._warned_of_images.add(game.name)
        return [
            Finding(
                game.name,
                f"was started without graphics, and {listed(game.image_behaviours)} sees images: "
                "a camera shows nothing then (a grid sensor does). For cameras leave out "
                "--no-graphics (unity.launch.no_graphics); a machine without a display needs "
                "xvfb-run",
            )
        ]


def _must_move(game: GameStatus) -> bool:
    """True if the game must send the next message; one that left need not come back."""
    return game.stage is Stage.ABSENT or (game.is_its_turn and game.stage is not Stage.LEFT)


def _not_started(game: GameStatus, timeout_s: float) -> str:
    port = game.address.rpartition(":")[2]
    return (
        f"has not connected to {game.address} within {timeout_s:g} s: press Play in the Unity "
        f"Editor, or start a build with --mlagents-port {port}. If you did: an agent's Behavior "
        "Type must be Default, and the Editor dials the port of its project settings (5004 if "
        "none is given)"
    )


def _never_connected(game: GameStatus, launched: LaunchedGame, timeout_s: float) -> str:
    cause = cause_in(launched.logs)
    begin = f"has run for {timeout_s:g} s and not connected to {game.address}"
    if cause:
        return f"{begin}: {cause}"
    words, log = last_words(launched.logs), launched.logs[0]
    end = f"Its last words in {log}: {words}" if words else f"It has written nothing in {log}"
    return (
        f"{begin}. Usual causes: it still loads (--timeout-wait, unity.timeout_s, says when this "
        "is told); it is no build with ML-Agents, or no agent in its scene has Behavior Type "
        f"Default; it waits for a click. {end}"
    )
