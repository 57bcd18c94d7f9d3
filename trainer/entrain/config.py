"""Every option of a run, with its default, its unit and its trade-off.

The docstring under a field is its documentation everywhere: in `entrain schema`, which editors
complete YAML from, and in docs/configuration.md. Reading files is `config_file`'s affair.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


def _refuse_lookalikes(value: Any) -> Any:
    """Neither true nor quoted text is a number, though Python would turn both into one."""
    if isinstance(value, bool | str | bytes):
        raise PydanticCustomError("number_type", "Input should be a number")
    return value


_IsNumber = BeforeValidator(_refuse_lookalikes)
Number = Annotated[float, _IsNumber]
Fraction = Annotated[float, Field(ge=0.0, le=1.0), _IsNumber]
Positive = Annotated[float, Field(gt=0.0), _IsNumber]
NonNegative = Annotated[float, Field(ge=0.0), _IsNumber]
Count = Annotated[int, Field(ge=1), _IsNumber]
CountOrZero = Annotated[int, Field(ge=0), _IsNumber]
Seed = Annotated[int, Field(ge=0, lt=2**63), _IsNumber]
Schedule = Literal["constant", "linear"]
"""linear: falls from its value to zero over the run's total steps."""


class Options(BaseModel):
    """A group of options: unknown names are errors, and nothing changes after reading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_all_defaults(cls, values: Any) -> Any:
        """A group written without any option, as when its last one was deleted."""
        return {} if values is None else values


class NetworkConfig(Options):
    """The networks of policy and critic."""

    hidden_sizes: tuple[Count, ...] = (64, 64)
    """Width of each hidden layer. Wider learns harder tasks, at the cost of speed."""

    activation: Literal["tanh", "relu", "elu", "silu"] = "tanh"
    """tanh suits small control networks; relu, elu and silu wider ones."""

    shared: bool = False
    """Whether policy and critic share their hidden layers. Separate is safer for vectors."""


class ActionConfig(Options):
    """How continuous actions are drawn. Discrete branches need no options."""

    distribution: Literal["gaussian", "squashed_gaussian"] = "gaussian"
    """gaussian: clipped at the bounds. squashed_gaussian: tanh keeps actions inside them."""

    initial_log_sigma_sq: Number = 0.0
    """Logarithm of the variance at the start, per dimension, where 1 is half the bounded range."""

    min_log_sigma_sq: Number = -20.0
    """Smooth floor of the log-variance: exploration never falls below it."""

    max_log_sigma_sq: Number = 4.0
    """Smooth ceiling of the log-variance: an entropy regularizer cannot push beyond it."""

    @model_validator(mode="after")
    def _check(self) -> "ActionConfig":
        if not self.min_log_sigma_sq < self.initial_log_sigma_sq < self.max_log_sigma_sq:
            raise ValueError(
                f"initial_log_sigma_sq is {self.initial_log_sigma_sq}; it must lie between "
                f"min_log_sigma_sq {self.min_log_sigma_sq} and "
                f"max_log_sigma_sq {self.max_log_sigma_sq}"
            )
        return self


class PPOConfig(Options):
    """How one update uses one rollout (Schulman et al. 2017, arXiv:1707.06347)."""

    rollout_steps: Count = 2048
    """Closed env steps, over all agents together, that one update learns from."""

    minibatch_size: Count = 64
    """Steps in one gradient step. Larger is steadier and faster per step, with fewer updates."""

    num_epochs: Count = 10
    """Passes over one rollout. More learn faster from it, until the policy drifts."""

    learning_rate: Positive = 3e-4
    """Of Adam, for policy and critic."""

    learning_rate_schedule: Schedule = "linear"
    """linear falls to zero over the run."""

    adam_epsilon: Positive = 1e-5
    """Added to Adam's denominator; 1e-5 is the field's custom for PPO."""

    discount: Fraction = 0.99
    """Per step; the policy looks about 1 / (1 - discount) steps ahead."""

    gae_lambda: Fraction = 0.95
    """0 trusts the critic, 1 trusts the sampled rewards."""

    clip_range: Positive = 0.2
    """How far the action probability ratio may leave 1 before its gradient is cut."""

    clip_range_schedule: Schedule = "constant"
    """linear falls to zero over the run."""

    value_clip_range: NonNegative = 0.0
    """How far a value may move from its old estimate in one update; 0 does not clip values."""

    value_coefficient: NonNegative = 0.5
    """Weight of the critic's squared error in the loss."""

    entropy_coefficient: NonNegative = 0.0
    """Weight of the policy's entropy in the loss: more keeps exploring for longer."""

    entropy_coefficient_schedule: Schedule = "constant"
    """linear falls to zero over the run."""

    max_grad_norm: NonNegative = 0.5
    """Gradients longer than this are shortened to it; 0 does not clip gradients."""

    advantage_normalization: Literal["minibatch", "rollout", "none"] = "minibatch"
    """Over what advantages are brought to mean 0 and standard deviation 1."""

    target_kl: NonNegative = 0.0
    """An update ends early once the policy has moved this far (nats); 0 never ends it early."""


class PolicyConfig(Options):
    """One policy: how long it trains, its networks, its algorithm."""

    total_steps: Count = 1_000_000
    """Env steps (outcomes received, over all agents) after which this policy is done."""

    network: NetworkConfig = NetworkConfig()
    action: ActionConfig = ActionConfig()

    normalize_observations: bool = True
    """Bring observations to mean 0, variance 1 by running statistics. Never uint8 ones."""

    observation_clip: Positive = 10.0
    """Normalised observations are cut at plus and minus this."""

    normalize_rewards: bool = False
    """Divide rewards by the running standard deviation of their discounted sum."""

    reward_clip: Positive = 10.0
    """Normalised rewards are cut at plus and minus this."""

    ppo: PPOConfig = PPOConfig()


class ServerConfig(Options):
    """Where simulators dial in, who may, and how their requests are batched."""

    address: str = Field(
        default="localhost:50051",
        pattern=r"^(unix:.+|\[[^\s\[\]]+\]:[0-9]{1,5}|[^\s:\[\]]+:[0-9]{1,5})$",
        json_schema_extra={
            "patternErrorMessage": "HOST:PORT, [IPV6]:PORT or unix:PATH, such as localhost:50051"
        },
    )
    """HOST:PORT, [IPV6]:PORT or unix:PATH. Beyond loopback it needs TLS, or `insecure`."""

    insecure: bool = False
    """Allow a non-loopback address without TLS. Anyone who reaches the port can then join."""

    tls_certificate: Path | None = None
    """PEM file of the server's certificate chain. Switches TLS on, together with `tls_key`."""

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

    max_waiting_mib: Positive = 2048.0
    """Bytes of unanswered steps held at once; a step beyond it is refused."""

    grace_s: NonNegative = 30.0
    """How long a simulator with a broken stream may take to come back before it is released."""

    max_batch: Count = 65536
    """A batch is served at once when this many rows wait."""

    max_wait_s: NonNegative = 0.005
    """Longest that a request waits for those of other simulators before it is served."""

    lockstep: bool = False
    """Every batch waits for all expected simulators and orders rows by their names, so that a
    seeded run repeats bit for bit. Slower when simulators are of unequal speed."""

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
        return self


class LaunchConfig(Options):
    """A simulator that the trainer starts itself."""

    command: str | tuple[str, ...]
    """What to run, as one string split like a shell does, or as a list. `{address}` becomes the
    trainer's address, `{index}` the copy's number, `{name}` NAME-INDEX."""

    count: Count = 1
    """How many copies."""

    name: str = "simulator"
    """For logs; copy 0 is called NAME-0."""

    @model_validator(mode="after")
    def _check(self) -> "LaunchConfig":
        if not self.command or (isinstance(self.command, str) and not self.command.strip()):
            raise ValueError("command is empty; it must be the program to run and its arguments")
        return self


class SimulatorsConfig(Options):
    """Which simulators take part."""

    launch: tuple[LaunchConfig, ...] = ()
    """Simulators to start; empty waits for simulators that others start."""

    expect: CountOrZero = 0
    """Simulators that must have joined before the first batch. 0: those launched, or else 1."""

    wait_s: Positive = 300.0
    """How long to wait, with no simulator connected, before the run ends with an error."""

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
    """What is saved while training."""

    every_steps: Count = 100_000
    """Env steps (of all policies) between checkpoints. One more is written at the end."""

    keep: Count = 3
    """How many of the newest checkpoints stay on disk."""


class RunConfig(Options):
    """One training run."""

    name: str = Field(
        default="run",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        json_schema_extra={
            "patternErrorMessage": "a letter or digit, then letters, digits, '.', '_' and '-'"
        },
    )
    """The run's folder is RUNS_DIRECTORY/NAME; a number is added if it exists."""

    runs_directory: Path = Path("runs")
    """Where run folders are made."""

    seed: Seed = 1
    """Decides initial weights, action noise, minibatch order and the simulators' seeds."""

    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where networks live. Small networks on vectors are faster on the CPU."""

    threads: CountOrZero = 1
    """CPU threads of torch; 0 leaves the choice to torch. 1 is fastest for small networks."""

    stop_timeout_s: Positive = 20.0
    """After SIGTERM or Ctrl+C, how long a running update may take before it is abandoned (it is
    done again, identically, on resume)."""

    server: ServerConfig = ServerConfig()
    simulators: SimulatorsConfig = SimulatorsConfig()

    environment_parameters: dict[str, Number] = {}
    """Settings of the environment itself, sent to every simulator."""

    checkpoints: CheckpointsConfig = CheckpointsConfig()

    policies: dict[str, PolicyConfig] = {"*": PolicyConfig()}
    """A policy for each behaviour name; "*" stands for every behaviour not named."""

    @model_validator(mode="after")
    def _check(self) -> "RunConfig":
        if not self.policies:
            raise ValueError('policies is empty; name a behaviour, or use "*" for all of them')
        return self

    def policy_for(self, behaviour: str) -> PolicyConfig | None:
        """The options for that behaviour's policy; None if the run has no place for it."""
        return self.policies.get(behaviour, self.policies.get("*"))
