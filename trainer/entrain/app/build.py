"""Makes the parts that training and evaluation share, each from a configuration.

Nothing here runs anything.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from entrain.algorithms.weights import load_weights
from entrain.app.launch_plan import plan
from entrain.app.launcher import TLS_CA, Launcher
from entrain.config.environment_parameters import (
    EnvironmentParameter,
    values_at,
    with_seeds,
)
from entrain.config.policy import PolicyConfig
from entrain.config.run import RunConfig, ServerConfig
from entrain.errors import CheckpointError, ConfigError, EntrainError
from entrain.inference.policy import make_inference_policy
from entrain.native.address import UnixAddress, parse_address
from entrain.native.front import NativeFront
from entrain.policy.actor_critic import ActorCritic, ActorNetwork, make_policy
from entrain.policy.custom_network import load_class
from entrain.policy.value_normalization import completed
from entrain.rollout.actor import Actor
from entrain.run.checkpoint import Loaded
from entrain.run.folder import RunFolder
from entrain.serving.behaviours import Behaviours, Opener, Preparation
from entrain.serving.front import Front
from entrain.serving.fronts import Fronts
from entrain.serving.measures import Measures
from entrain.serving.participants import Participants
from entrain.state import State
from entrain.unity.front import UnityFront
from entrain_envs.spec import BehaviourSpec

if TYPE_CHECKING:
    from entrain.native.websocket_transport import Simulators

logger = logging.getLogger(__name__)

BEYOND_MEMORY = ("allocate memory", "out of memory", "size calculation overflowed", "Overflow when")
"""Parts of torch's messages about tensors that are too large; these errors have no own class."""


def make_participants(
    config: RunConfig,
    on_new: Opener,
    *,
    prepare: Preparation,
    another_policy: Callable[[str], str],
    seed: int,
) -> Participants:
    """Makes the participants of a run, whose behaviours must have policies in `config`.

    Args:
        config: of the run.
        on_new: prepares the run for new behaviours.
        prepare: makes beforehand what `on_new` would take long for.
        another_policy: what gives a behaviour a policy, in words.
        seed: simulators' seeds derive from it.
    """
    measures = None if config.http.address is None else Measures()
    behaviours = Behaviours(
        config.server,
        accepts=lambda behaviour: config.policy_for(behaviour) is not None,
        policies=tuple(config.policies),
        remedy=another_policy,
        on_new=on_new,
        prepare=prepare,
        measures=measures,
    )
    return _make_participants(config, behaviours, {}, measures, seed=seed)


def make_evaluation_participants(
    config: RunConfig, policies: Mapping[str, ActorNetwork], lessons: Mapping[str, int]
) -> Participants:
    """Makes the participants of an evaluation, whose specs must be those that policies had.

    Args:
        config: of the run.
        policies: {behaviour: its policy}.
        lessons: {environment parameter: index of its lesson, from 0}.
    """
    behaviours = Behaviours(
        config.server,
        accepts=lambda behaviour: behaviour in policies,
        policies=tuple(policies),
        remedy=lambda _: "train a run with it first",
    )
    behaviours.admit([policy.spec for policy in policies.values()], who="the evaluation")
    return _make_participants(config, behaviours, lessons, seed=config.seed)


def _make_participants(
    config: RunConfig,
    behaviours: Behaviours,
    lessons: Mapping[str, int],
    measures: Measures | None = None,
    *,
    seed: int,
) -> Participants:
    return Participants(
        config.server,
        behaviours,
        seed=seed,
        expect=config.expected_simulators,
        environment_parameters=values_at(environment_parameters(config), lessons),
        measures=measures,
    )


def environment_parameters(config: RunConfig) -> Mapping[str, EnvironmentParameter]:
    """Returns those of a run; for games, which draw by themselves, every sampler has a seed."""
    parameters: Mapping[str, EnvironmentParameter] = config.environment_parameters
    return parameters if config.unity is None else with_seeds(parameters, config.seed)


def make_front(
    config: RunConfig,
    participants: Participants,
    *,
    run_id: str,
    evaluation: Participants | None = None,
) -> Front:
    """Makes the front by which simulators connect; ConfigError if the address is not allowed.

    Args:
        config: of the run; says which wires are served.
        participants: of the run.
        run_id: told to simulators.
        evaluation: who takes part in the run's evaluations; None: there are none.
    """
    fronts: dict[str, Front] = {}
    if config.is_native:
        fronts["native"] = NativeFront(
            participants,
            run_id=run_id,
            is_on_page=config.is_websocket_on_page,
            evaluation=evaluation,
        )
    elif config.server.address != ServerConfig().address:
        logger.warning(
            "server.address %s has no effect: this run serves games of ML-Agents on ports of "
            "theirs; to let simulators dial it too, entrain-env bridge among them, set "
            "unity.native true, or leave the section unity out",
            config.server.address,
        )
    if config.unity is not None:
        fronts["unity"] = UnityFront(participants, config.unity, seed=config.seed)
    return Fronts(fronts)


def web_sockets_of(front: Front) -> "Simulators | None":
    """The application that answers simulators' WebSockets, if `front` has one."""
    native = front.named("native") if isinstance(front, Fronts) else None
    return native.simulators if isinstance(native, NativeFront) else None


def listened_on(config: RunConfig, address: str) -> str:
    """Returns where the server listens, for messages.

    Args:
        config: of the run.
        address: that the first front's simulators on this machine connect to, with the real port.
    """
    if not config.is_native:
        return address
    asked_for = parse_address(config.server.address)
    if isinstance(asked_for, UnixAddress):
        return address
    return asked_for.at(asked_for.host, int(address.rpartition(":")[2]))


def make_launcher(
    config: RunConfig,
    folder: RunFolder,
    address: str,
    environment_of: Callable[[str], Mapping[str, str]] = lambda _: {},
    *,
    indices: Callable[[int], Sequence[int]] = range,
) -> Launcher:
    """Makes the launcher of the simulators that the configuration names.

    Args:
        config: of the run.
        folder: of the run.
        address: that simulators connect to.
        environment_of: further variables for the simulator of a given name.
        indices: which of so many copies, counted from 0, are this process's.
    """
    server = config.server
    files = {"ENTRAIN_TOKEN_FILE": server.token_file, TLS_CA: server.tls_certificate}
    if os.environ.get(TLS_CA):
        # The user has named the authority that signed the certificate. Without one, simulators
        # trust the certificate itself, as if it was self-signed.
        del files[TLS_CA]
    environment = {name: str(path) for name, path in files.items() if path is not None}
    return Launcher(
        plan(config.simulators.launch, address=address, logs=folder.simulators, indices=indices),
        environment={"ENTRAIN_ADDRESS": address, **environment},
        environment_of=environment_of,
    )


def device(config: RunConfig) -> torch.device:
    """Returns the device of the networks; ConfigError if this machine has none such."""
    has_cuda = torch.cuda.is_available()
    if config.device == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    if config.device == "cuda" and not has_cuda:
        raise ConfigError(
            f"device is cuda, and torch {torch.__version__} finds no GPU; set device to cpu or "
            "auto, or install a build of torch for this machine's driver"
        )
    return torch.device(config.device)


def seed_of(config: RunConfig, number: int) -> int:
    """Returns the seed of the policy of the behaviour that came as `number`, from 0."""
    return config.seed + 1_000_003 * number


def policy_states(policies: State) -> Sequence[tuple[BehaviourSpec, State]]:
    """Returns (spec, trainer's state) of each policy in the "policies" of a run's state."""
    return [
        (BehaviourSpec.from_state(policies[index]["spec"]), policies[index]["trainer"])
        for index in sorted(policies, key=int)
    ]


def load_policies(config: RunConfig, restored: Loaded) -> Mapping[str, ActorNetwork]:
    """Returns {behaviour: trained policy}; CheckpointError if one does not fit `config`."""
    policies = {}
    with checked(restored.path):
        for spec, trainer in policy_states(restored.state["policies"]):
            policies[spec.name] = policy_of(config, spec, trainer["algorithm"])
    if not policies:
        raise CheckpointError(f"{restored.path} has no policy: no simulator had joined yet")
    return policies


def policy_of(config: RunConfig, spec: BehaviourSpec, algorithm: State) -> ActorNetwork:
    """Returns the policy that the state of its algorithm holds."""
    options = policy_options(config, spec.name)
    with within_memory(options):
        policy = make_policy(spec, options, seed=0)
        saved = algorithm["policy"]
        if isinstance(policy, ActorCritic):
            saved = completed(saved, policy.num_values)
        load_weights(policy, saved)
        return policy.to(device(config))


@contextmanager
def within_memory(options: PolicyConfig) -> Iterator[None]:
    """Within the block, in which a policy is made, raise ConfigError if memory does not suffice."""
    try:
        yield
    except (MemoryError, RuntimeError, TypeError) as error:
        if not any(words in str(error) for words in BEYOND_MEMORY):
            raise
        network = options.network
        sizes = f"network.hidden_sizes {list(network.hidden_sizes)}"
        if network.memory.kind != "none":
            sizes += f" and network.memory.size {network.memory.size}"
        raise ConfigError(
            f"{sizes} make more weights than fit into memory; choose smaller sizes"
        ) from error


def warn_of_too_few_steps(options: PolicyConfig, behaviour: str) -> None:
    """Log a warning if the policy reaches its total steps before anything is learned."""
    starts = getattr(options.algorithm, "learning_starts", 0)
    if starts >= options.total_steps >= options.rollout_steps:
        logger.warning(
            "policy '%s' will not learn: it is done after total_steps %s, before learning begins "
            "after algorithm.learning_starts %s",
            behaviour,
            f"{options.total_steps:,}",
            f"{starts:,}",
        )
    if options.total_steps < options.rollout_steps:
        logger.warning(
            "policy '%s' will not learn: it is done after total_steps %s, before the first "
            "rollout of rollout_steps %s",
            behaviour,
            f"{options.total_steps:,}",
            f"{options.rollout_steps:,}",
        )


def policy_options(config: RunConfig, behaviour: str) -> PolicyConfig:
    """Returns the options of `behaviour`'s policy; CheckpointError if there is no such policy."""
    options = config.policy_for(behaviour)
    if options is None:
        raise CheckpointError(f"the configuration has no policy for '{behaviour}'")
    return options


def make_actor(policy: ActorNetwork, *, seed: int, deterministic: bool = False) -> Actor:
    """The actor of `policy`: it acts with a copy of the weights."""
    return Actor(make_inference_policy(policy), seed=seed, deterministic=deterministic)


def require_networks(config: RunConfig) -> None:
    """Check that the device and every `network.custom` exist, before the run waits for simulators.

    Whether a network fits is known only once a simulator sends its spec.

    Raises:
        ConfigError: one does not exist.
    """
    device(config)
    for options in config.policies.values():
        if options.network.custom is not None:
            load_class(options.network.custom)


@contextmanager
def checked(path: Path) -> Iterator[None]:
    """Within the block, which loads the state of checkpoint `path`, raise only CheckpointError."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except EntrainError:
        raise
    except Exception as error:  # whatever making sense of another layout comes to
        # The digest says that the file is whole, so another version or another run wrote it.
        raise CheckpointError(
            f"{path} is whole, but not of this run: {type(error).__name__}: {error}. Resume with "
            "the configuration and the version of entrain that it was written with"
        ) from error
