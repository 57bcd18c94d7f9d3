"""What training and evaluation are built of alike: the server, launched simulators, a checkpoint.

Nothing here runs; each function makes one part for a configuration.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from google.protobuf.message import DecodeError

from entrain import config_file
from entrain.algorithms.weights import load_weights
from entrain.config import RunConfig
from entrain.errors import CheckpointError, ConfigError, EntrainError
from entrain.launcher import Launcher, plan
from entrain.policy.actor_critic import ActorCritic
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.folder import RunFolder
from entrain.server.server import Server
from entrain.state import State
from entrain_envs.codec import decode_spec
from entrain_envs.spec import BehaviourSpec
from entrain_envs.wire import trainer_pb2 as pb

TLS_CA = "ENTRAIN_TLS_CA"
"""Where simulators look for the authority that they trust."""


MISFITS = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, DecodeError)
"""What taking in a state of another form comes to."""


def make_server(config: RunConfig, *, run_id: str) -> Server:
    """The server of a run, which takes every behaviour that the configuration has a policy for."""
    return Server(
        config.server,
        run_id=run_id,
        seed=config.seed,
        accepts=lambda behaviour: config.policy_for(behaviour) is not None,
        policies=tuple(config.policies),
        environment_parameters=config.environment_parameters,
        expect=expected_simulators(config),
    )


def make_evaluation_server(
    config: RunConfig, policies: Mapping[str, ActorCritic], *, run_id: str
) -> Server:
    """A server that takes the behaviours of these policies, with the specs they were trained for.

    Args:
        config: of the run.
        policies: {behaviour: its policy}.
        run_id: told to simulators.
    """
    server = Server(
        config.server,
        run_id=run_id,
        seed=config.seed,
        accepts=lambda behaviour: behaviour in policies,
        policies=tuple(policies),
        environment_parameters=config.environment_parameters,
        expect=expected_simulators(config),
    )
    for policy in policies.values():
        server.admit(policy.spec)
    return server


def make_launcher(config: RunConfig, folder: RunFolder, address: str) -> Launcher:
    """What starts the simulators that the configuration names, and tells them where to dial."""
    server = config.server
    files = {"ENTRAIN_TOKEN_FILE": server.token_file, TLS_CA: server.tls_certificate}
    if os.environ.get(TLS_CA):
        # A certificate signed by an authority is trusted through that authority, which only the
        # user knows; without one, the certificate is taken to be self-signed.
        del files[TLS_CA]
    environment = {name: str(path) for name, path in files.items() if path is not None}
    return Launcher(
        plan(config.simulators.launch, address=address, logs=folder.simulators),
        environment={"ENTRAIN_ADDRESS": address, **environment},
    )


def expected_simulators(config: RunConfig) -> int:
    """Simulators that must have joined before the first batch."""
    launched = sum(options.count for options in config.simulators.launch)
    return config.simulators.expect or launched or 1


def device(config: RunConfig) -> torch.device:
    """Where networks live."""
    if config.device != "auto":
        return torch.device(config.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def policy_states(state: State) -> Sequence[tuple[BehaviourSpec, State]]:
    """(spec, trainer's state) of each policy in a run's state."""
    policies = state["policies"]
    return [
        (
            decode_spec(pb.BehaviourSpec.FromString(policies[index]["spec"])),
            policies[index]["trainer"],
        )
        for index in sorted(policies, key=int)
    ]


def load_policies(config: RunConfig, restored: Loaded) -> Mapping[str, ActorCritic]:
    """{behaviour: its policy as trained}; CheckpointError if they do not fit the configuration."""
    policies = {}
    with checked(restored.path):
        for spec, trainer in policy_states(restored.state):
            options = config.policy_for(spec.name)
            if options is None:
                raise CheckpointError(
                    f"the configuration has no policy for behaviour '{spec.name}'"
                )
            policy = ActorCritic(spec, options, seed=0)
            load_weights(policy, trainer["algorithm"]["policy"])
            policies[spec.name] = policy.to(device(config))
    if not policies:
        raise CheckpointError(f"{restored.path} has no policy: no simulator had joined yet")
    return policies


def load_prior(path: Path, spec: BehaviourSpec, device: torch.device) -> ActorCritic:
    """The policy for `spec` of the run in folder `path`, as its newest checkpoint has it; frozen.

    Raises:
        ConfigError: there is no such policy, or it is for another spec.
    """
    try:
        folder = RunFolder.existing(path)
        config = config_file.load(folder.config, [])
        store = CheckpointStore(folder.checkpoints, keep=config.checkpoints.keep)
        policies = load_policies(config, store.load_newest())
    except EntrainError as error:
        raise ConfigError(f"entropy.prior of '{spec.name}' cannot be used: {error}") from error
    prior = policies.get(spec.name)
    if prior is None:
        raise ConfigError(
            f"entropy.prior {path} has no policy '{spec.name}' (it has: {', '.join(policies)}); "
            "name the folder of a run that trained this behaviour"
        )
    if prior.spec != spec:
        raise ConfigError(
            f"entropy.prior {path} was trained for another spec of '{spec.name}': {prior.spec}; "
            f"this run's is {spec}"
        )
    return prior.to(device).requires_grad_(False)


@contextmanager
def checked(path: Path) -> Iterator[None]:
    """While the state of checkpoint `path` is taken in: what does not fit is a CheckpointError."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except MISFITS as error:
        # The file is whole, its digest says; so another program, or another run, wrote it.
        raise CheckpointError(
            f"{path} is whole, but not of this run: {type(error).__name__}: {error}. Resume with "
            "the configuration and the version of entrain that it was written with"
        ) from error
