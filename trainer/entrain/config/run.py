"""The options of a run, each with its default, unit and trade-off.

The docstring under a field is its documentation everywhere: in `entrain schema`, from which editors
complete YAML, and in docs/configuration.md. The options of one policy are in `policy`; `load` reads
files.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from entrain.config.environment_parameters import EnvironmentParameter, curricula
from entrain.config.evaluation import EvaluationConfig, StopAtConfig
from entrain.config.fields import (
    AtLeastOne,
    Count,
    CountOrZero,
    NonNegative,
    Options,
    Positive,
    Seed,
)
from entrain.config.http import HttpAddress, HttpConfig
from entrain.config.launch import FILE_NAME, IN_NAMES, LaunchConfig
from entrain.config.notify import NotifyConfig
from entrain.config.observers import Observed
from entrain.config.policy import PolicyConfig
from entrain.config.ranks import RanksConfig
from entrain.config.search import SearchConfig
from entrain.config.unity import UnityConfig

_ORIGIN = Field(
    pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^/\s?#@]+$",
    json_schema_extra={
        "patternErrorMessage": "SCHEME://HOST or SCHEME://HOST:PORT, such as https://game.example"
    },
)


class ServerConfig(Options):
    """Where simulators dial in, who may, and how their requests are batched."""

    address: str = Field(
        default="localhost:50051",
        pattern=r"^(unix:.+|\[[^\s\[\]]+\]:[0-9]{1,5}|[^\s:\[\]]+:[0-9]{1,5})$",
        json_schema_extra={
            "patternErrorMessage": "HOST:PORT, [IPV6]:PORT or unix:PATH, such as localhost:50051"
        },
    )
    """HOST:PORT, [IPV6]:PORT or unix:PATH. Addresses beyond loopback need TLS, or `insecure`."""

    websocket: HttpAddress | None = None
    """HOST:PORT or [IPV6]:PORT on which simulators that speak WebSocket dial in as well, such as
    localhost:50052; null: none. If `http.address` is the same, the page's server answers both."""

    origins: tuple[Annotated[str, _ORIGIN], ...] = ()
    """Pages whose scripts may be simulators, each as its browser says it in the header Origin,
    such as https://game.example. Programs send no Origin and need no entry."""

    insecure: bool = False
    """Allow a non-loopback address without TLS. Anyone who reaches the port can then join."""

    tls_certificate: Path | None = None
    """PEM file of the server's certificate chain. Together with `tls_key` it switches TLS on."""

    tls_key: Path | None = None
    """PEM file of the certificate's private key."""

    tls_client_ca: Path | None = None
    """PEM file; if given, simulators must show a certificate signed by this authority."""

    token_file: Path | None = None
    """File whose first line is a secret that simulators must present as bearer token."""

    max_message_mib: Positive = 256.0
    """Largest message a simulator may send. gRPC's own default of 4 would refuse cameras."""

    max_sessions: Count = 1024
    """Simulators connected at once; more are refused."""

    max_agents: Count = 1_048_576
    """Agents alive at once over all simulators, per behaviour; more are refused."""

    max_behaviours: Count = 100
    """Kinds of agents over all simulators, each with a policy of its own; more are refused."""

    max_weights: Count = 100_000_000
    """Weights of one policy's networks, reckoned from the spec that a simulator sends before they
    are made; a larger one is refused. Learning takes about 32 bytes for each."""

    max_rollout_mib: Positive = 16384.0
    """Memory of one policy's rollout, and of one minibatch of it, in MiB, reckoned from the spec; a
    simulator whose behaviour would take more is refused."""

    max_replay_mib: Positive = 16384.0
    """Memory of the replays of all policies together when they are full, in MiB, reckoned from
    their specs; a simulator whose behaviour would exceed it is refused. Of each rank by itself."""

    max_waiting_mib: Positive = 2048.0
    """Unanswered steps, and the actions that answer them, held at once, in MiB; a step beyond this
    is refused."""

    max_reward: AtLeastOne = 1e15
    """Largest reward, and largest loss, that a simulator may send. It is refused with the first one
    beyond it, so that one that breaks does not spoil what all others learn from."""

    max_observation: AtLeastOne = 1e15
    """The same of the numbers in float32 observations."""

    max_statistics: Count = 200
    """Names of the numbers that simulators report beside their rows (docs/simulators.md), at most
    half of them from one simulator; further ones are left out. Each is a column of metrics.csv."""

    max_unanswered_steps: int = Field(default=2, ge=1, le=2)
    """Steps of one simulator that may be without an answer at a time, if it asks for 2: it then
    simulates one half of its agents while the other half is acted on (entrain-env --groups 2)."""

    grace_s: NonNegative = 30.0
    """Seconds in which a simulator whose stream broke may reconnect and keep its agents."""

    max_batch: Count = 65536
    """A batch is served without further waiting once it has this many rows."""

    max_wait_s: NonNegative = 0.005
    """Longest time that a request waits for requests of other simulators."""

    lockstep: bool = False
    """Every batch waits for all expected simulators and sorts its rows by their names, so that a
    seeded run repeats bit for bit. Slower if some simulators are slower than others."""

    reflection: bool = False
    """Serve gRPC reflection, for tools such as grpcurl."""

    @model_validator(mode="after")
    def _check(self) -> "ServerConfig":
        if (self.tls_certificate is None) != (self.tls_key is None):
            given, missing = (
                ("tls_certificate", "tls_key")
                if self.tls_key is None
                else ("tls_key", "tls_certificate")
            )
            raise ValueError(f"{given} is given without {missing}; TLS needs both")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca is given without tls_certificate and tls_key")
        if self.websocket == self.address and not self.address.endswith(":0"):
            raise ValueError(
                f"address and websocket are both {self.address}; give websocket another port"
            )
        return self


class SimulatorsConfig(Options):
    """Which simulators take part."""

    launch: tuple[LaunchConfig, ...] = ()
    """Simulators that the trainer starts. Empty: it waits for simulators started by others."""

    expect: CountOrZero = 0
    """Simulators that must have joined before the first batch. 0: those launched and
    `unity.games`, or else 1."""

    wait_s: Positive = 300.0
    """How long to wait, with no simulator connected, before the run ends with an error."""

    idle_s: Positive = 300.0
    """How long a finished run waits for a policy that has steps left and gets none, because its
    simulators are gone or send nothing. Then it ends without. Policies that the file names are
    waited for without end; this is for those that simulators brought under "*"."""

    bring_all: bool = True
    """Whether the run waits for every policy that the file names. false: those whose behaviour no
    simulator has brought by the time the others are done are left out, as in a file for several
    games of which one is played."""

    close_s: NonNegative = 10.0
    """How long launched simulators may take to end by themselves once the run is over: to close
    windows, and finish files and recordings. Then they get SIGTERM."""

    @model_validator(mode="after")
    def _check(self) -> "SimulatorsConfig":
        names = [launch.name for launch in self.launch]
        twice = [name for position, name in enumerate(names) if name in names[:position]]
        if twice:
            raise ValueError(
                f"launch has two entries with the name '{twice[0]}'; give each a name of its own, "
                "for names order the simulators in lockstep"
            )
        return self


class CheckpointsConfig(Options):
    """When checkpoints are written, and how many are kept."""

    every_steps: Count = 100_000
    """Env steps, of all policies together, between checkpoints. The first after a start or
    resume is written after an update, or a minute after a step if that is earlier; the last when
    the run ends."""

    every_minutes: NonNegative = 10.0
    """Minutes between checkpoints, if they are fewer than `every_steps` take: what a crash may cost
    at most. 0: by `every_steps` alone."""

    keep: Count = 3
    """Number of newest checkpoints that stay on disk."""

    replay_mib: Positive = 4096.0
    """Part of one checkpoint that the replays of all policies together may take, in MiB: they are
    written whole, so that a resumed run goes on as if it had never stopped. A simulator whose
    behaviour could exceed it is refused. With ranks, the replays of all are in one checkpoint, and
    rank 0 holds those of the others in memory while it writes it. It is written piece by piece:
    beside the replays this takes some 30 MiB, and a copy of the steps that are overwritten
    meanwhile."""


class RunConfig(Options):
    """One training run."""

    name: str = Field(
        default="run",
        pattern=FILE_NAME,
        json_schema_extra={"patternErrorMessage": IN_NAMES},
    )
    """The run's folder is RUNS_DIRECTORY/NAME; a number is added if it exists."""

    runs_directory: Path = Path("runs")
    """Folder in which run folders are made."""

    seed: Seed = 1
    """Determines initial weights, action noise, minibatch order and the simulators' seeds."""

    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Device of the networks. Small networks on vectors are faster on the CPU."""

    threads: CountOrZero = 1
    """CPU threads of torch and numpy while policies act; 0 leaves the number to them. 1 is fastest
    for small networks."""

    update_threads: Count = 1
    """CPU threads that torch uses for each operation of an update, at most one per processor. More
    are faster for images, large networks and large minibatches while the processors are idle, and
    many times slower while something else needs them."""

    stop_timeout_s: Positive = 20.0
    """After SIGTERM or Ctrl+C, how long a running update may take before it is abandoned (it is
    done again, identically, on resume)."""

    stopped_exit_code: int = Field(default=0, ge=0, le=255)
    """Exit code of a run that was saved and stopped, as asked, before it was complete. 0 suits
    people and service managers. What runs jobs to completion, as Kubernetes does, would take that
    for the end: give it another one, such as 143, and the same command runs again."""

    episodes_mib: NonNegative = 64.0
    """Size in MiB at which episodes.csv, one row per episode, becomes episodes.1.csv and a new file
    is begun. The rows of the one before are forgotten. 0 writes neither."""

    server: ServerConfig = ServerConfig()
    http: HttpConfig = HttpConfig()
    notify: NotifyConfig = NotifyConfig()

    observers: tuple[Observed, ...] = ()
    """Who else is told how the run goes: PACKAGE.MODULE:CLASS each, or a group with its options.
    docs/python.md."""

    simulators: SimulatorsConfig = SimulatorsConfig()

    unity: UnityConfig | None = None
    """Let games built with Unity's ML-Agents take part; `{}` for all defaults. `server.address`
    is then listened on only if `unity.native` says so. null: no such games."""

    environment_parameters: dict[str, EnvironmentParameter] = {}
    """Numbers for the environment itself, sent to every simulator. Each is a number, a sampler that
    draws a new one for the episodes that begin next, or a curriculum."""

    checkpoints: CheckpointsConfig = CheckpointsConfig()

    evaluation: EvaluationConfig | None = None
    """Evaluate the newest weights while training goes on; `{}` for all defaults. null: never."""

    stop_at: StopAtConfig | None = None
    """Complete the run before `total_steps`, once its policies are good enough. null: never."""

    ranks: RanksConfig = RanksConfig()

    policies: dict[str, PolicyConfig] = {"*": PolicyConfig()}
    """One policy for each behaviour name; "*" stands for every other behaviour."""

    search: SearchConfig | None = None
    """Which options `entrain tune` varies, and how (docs/tuning.md); `entrain train` passes over
    it. null: none."""

    @model_validator(mode="after")
    def _check(self) -> "RunConfig":
        if not self.policies:
            raise ValueError('policies is empty; name a behaviour, or use "*" for all of them')
        self._check_curricula()
        self._check_evaluation()
        if self.is_websocket_on_page and self.server.tls_client_ca is not None:
            raise ValueError(
                f"server.websocket and http.address are both {self.http.address}, and "
                "server.tls_client_ca asks simulators for certificates, which browsers of the "
                "page do not have; give server.websocket a port of its own"
            )
        launched = sum(options.count for options in self.simulators.launch)
        for asked, option in (
            (launched, "the sum of simulators.launch.*.count"),
            (launched + self.num_games, "the sum of simulators.launch.*.count and unity.games"),
            (self.simulators.expect, "simulators.expect"),
        ):
            if asked > self.server.max_sessions:
                raise ValueError(
                    f"{option} is {asked:,}, and server.max_sessions is "
                    f"{self.server.max_sessions:,}: no more can join; lower the one or raise the "
                    "other"
                )
        return self

    def _check_evaluation(self) -> None:
        """Its simulators speak the native wire, and each has a name of its own."""
        if self.evaluation is None:
            return
        launched = self.evaluation.simulators(self.simulators.launch)
        if not launched and not self.is_native:
            raise ValueError(
                "evaluation: games of ML-Agents take no part in evaluations, and no other "
                "simulator can join: launch some in evaluation.launch (entrain-env bridge brings a "
                "game), or set unity.native true for those that join by themselves"
            )
        names = [entry.name for entry in (*self.simulators.launch, *launched)]
        twice = [name for position, name in enumerate(names) if name in names[:position]]
        if twice:
            raise ValueError(
                f"evaluation.launch: '{twice[0]}' is the name of two launched simulators; give "
                "each entry of simulators.launch and evaluation.launch a name of its own"
            )

    @property
    def num_games(self) -> int:
        """How many games of Unity's ML-Agents take part."""
        return 0 if self.unity is None else self.unity.games

    @property
    def expected_simulators(self) -> int:
        """How many simulators must have joined before the first batch."""
        launched = sum(options.count for options in self.simulators.launch)
        return self.simulators.expect or launched + self.num_games or 1

    @property
    def is_native(self) -> bool:
        """Whether `server.address` is listened on for simulators of entrain's own wire."""
        return self.unity is None or self.unity.native or bool(self.simulators.launch)

    @property
    def is_websocket_on_page(self) -> bool:
        """Whether the page's server answers simulators that speak WebSocket."""
        return self.server.websocket is not None and self.server.websocket == self.http.address

    def _check_curricula(self) -> None:
        """Of each lesson's end a behaviour decides that can take part."""
        for parameter, curriculum in curricula(self.environment_parameters).items():
            for lesson in curriculum.lessons:
                behaviour = lesson.completion and lesson.completion.behaviour
                if behaviour and self.policy_for(behaviour) is None:
                    raise ValueError(
                        f"environment_parameters: lesson '{lesson.name}' of '{parameter}' is over "
                        f"by what behaviour '{behaviour}' does, and policies has no such behaviour "
                        f"(it has: {', '.join(self.policies)})"
                    )

    @property
    def named_behaviours(self) -> tuple[str, ...]:
        """The behaviours that have options of their own."""
        return tuple(name for name in self.policies if name != "*")

    def policy_for(self, behaviour: str) -> PolicyConfig | None:
        """The options for that behaviour's policy; None if the run has no place for it."""
        return self.policies.get(behaviour, self.policies.get("*"))
