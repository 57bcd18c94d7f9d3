"""What docker/ promises, as far as it can be seen without a container engine.

`make containers` builds the images and runs them; here the files are held against each other and
against the programs whose options they name.
"""

import re
import shlex
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.utils.env_checker import check_env

from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.native.address import check_exposure, parse_address
from entrain_envs import command_line as entrain_env

REPOSITORY = Path(__file__).parents[1]
DOCKER = REPOSITORY / "docker"
DOCKERFILES = tuple(sorted(DOCKER.glob("*.Dockerfile")))
SECRETS = "/run/secrets/"

each_dockerfile = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)


def instructions(dockerfile: Path) -> Sequence[tuple[str, str]]:
    """[(instruction, its arguments)], comments dropped and continued lines joined."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    logical = "\n".join(lines).replace("\\\n", " ").splitlines()
    parts = [line.strip().partition(" ") for line in logical if line.strip()]
    return [(name, " ".join(arguments.split())) for name, _, arguments in parts]


def final_stage(dockerfile: Path) -> Sequence[tuple[str, str]]:
    """The instructions that make the image that is kept."""
    everything = instructions(dockerfile)
    begin = max(index for index, (name, _) in enumerate(everything) if name == "FROM")
    return everything[begin:]


def arguments_of(wanted: str, stage: Sequence[tuple[str, str]]) -> Sequence[str]:
    return [arguments for name, arguments in stage if name == wanted]


def compose() -> Mapping[str, Any]:
    """compose.yaml with every variable at its default."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (DOCKER / "compose.yaml").read_text())
    loaded: Mapping[str, Any] = yaml.safe_load(text)
    return loaded


def service(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = compose()["services"][name]
    return found


def run_config() -> RunConfig:
    return load_config(DOCKER / "run.yaml", [])


def test_there_are_two_images() -> None:
    assert [path.stem for path in DOCKERFILES] == ["simulator", "trainer"]


@each_dockerfile
def test_an_image_runs_as_a_numbered_user_who_is_not_root(dockerfile: Path) -> None:
    (user,) = arguments_of("USER", final_stage(dockerfile))
    uid, gid = user.split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    (make_user,) = arguments_of("RUN", final_stage(dockerfile))
    assert f"useradd --uid {uid} --gid {gid}" in make_user


@each_dockerfile
def test_sigterm_reaches_python_itself_for_no_shell_stands_between(dockerfile: Path) -> None:
    stage = final_stage(dockerfile)
    assert arguments_of("STOPSIGNAL", stage) == ["SIGTERM"]
    assert all(it.startswith('["') for it in arguments_of("ENTRYPOINT", stage))
    assert all(it.startswith('["') for it in arguments_of("CMD", stage))


@each_dockerfile
def test_an_image_starts_a_program_that_the_packages_install(dockerfile: Path) -> None:
    (entrypoint,) = arguments_of("ENTRYPOINT", final_stage(dockerfile))
    project = REPOSITORY / ("envs" if dockerfile.stem == "simulator" else ".") / "pyproject.toml"
    assert f"\n{yaml.safe_load(entrypoint)[0]} = " in project.read_text()


@each_dockerfile
def test_only_what_runs_is_kept(dockerfile: Path) -> None:
    stage = final_stage(dockerfile)
    assert not any("pip" in arguments for arguments in arguments_of("RUN", stage))
    assert "--from=build /opt/entrain /opt/entrain" in arguments_of("COPY", stage)


@each_dockerfile
def test_every_install_is_pinned_uncached_and_may_use_a_secret_pip_configuration(
    dockerfile: Path,
) -> None:
    installs = [it for name, it in instructions(dockerfile) if name == "RUN" and "install -" in it]
    installs = [it for it in installs if "/pip install" in it]
    assert installs
    for install in installs:
        assert install.startswith("--mount=type=secret,id=pip.conf,target=/etc/pip.conf ")
        assert "--no-cache-dir --constraint constraints.txt" in install


@each_dockerfile
def test_the_base_image_can_be_chosen_and_is_the_same_in_both_stages(dockerfile: Path) -> None:
    everything = instructions(dockerfile)
    assert everything[0] == ("ARG", "BASE=docker.io/library/python:3.11-slim")
    assert arguments_of("FROM", everything) == ["${BASE} AS build", "${BASE}"]


@each_dockerfile
def test_what_is_copied_exists_and_is_let_through_by_the_ignore_file(dockerfile: Path) -> None:
    ignore = dockerfile.with_name(dockerfile.name + ".dockerignore").read_text().splitlines()
    assert ignore[0] == "*"
    copied = [
        source
        for arguments in arguments_of("COPY", instructions(dockerfile))
        if not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    ]
    for source in copied:
        assert (REPOSITORY / source).exists()
        assert f"!{source}" in ignore
    assert {line.removeprefix("!") for line in ignore if line.startswith("!")} == set(copied)


def test_the_trainer_image_has_a_health_check_and_keeps_runs_on_a_volume() -> None:
    stage = final_stage(DOCKER / "trainer.Dockerfile")
    (health,) = arguments_of("HEALTHCHECK", stage)
    assert health.endswith('CMD ["python", "/opt/entrain/healthcheck.py"]')
    assert "docker/healthcheck.py /opt/entrain/healthcheck.py" in arguments_of("COPY", stage)
    assert arguments_of("VOLUME", stage) == ["/runs"]
    assert "--owner 10001 --group 10001 /runs" in arguments_of("RUN", stage)[0]


def test_the_trainer_image_has_torch_for_the_cpu_unless_told_otherwise() -> None:
    everything = instructions(DOCKER / "trainer.Dockerfile")
    assert "TORCH_INDEX=https://download.pytorch.org/whl/cpu" in arguments_of("ARG", everything)


def test_the_simulator_image_gets_nothing_of_the_trainer() -> None:
    text = "\n".join(" ".join(it) for it in instructions(DOCKER / "simulator.Dockerfile"))
    assert "torch" not in text
    assert "COPY trainer" not in text
    assert "COPY envs" in text


@pytest.mark.parametrize("name", ["trainer", "balance-ball"])
def test_a_service_can_write_nowhere_else_and_become_nobody_else(name: str) -> None:
    confined = service(name)
    assert confined["read_only"] is True
    assert confined["cap_drop"] == ["ALL"]
    assert confined["security_opt"] == ["no-new-privileges:true"]
    assert confined["mem_limit"]
    assert confined["pids_limit"]
    assert "privileged" not in confined
    assert "cap_add" not in confined
    assert "ports" not in confined


@pytest.mark.parametrize("name", ["trainer", "balance-ball"])
def test_a_service_is_given_only_secrets_that_the_certificate_program_writes(name: str) -> None:
    declared = compose()["secrets"]
    script = (DOCKER / "make-certificates.sh").read_text()
    for secret in service(name)["secrets"]:
        file = Path(declared[secret]["file"])
        assert file.parent == Path("secrets")
        assert f"$folder/{file.name}" in script
    assert not any(it["file"].endswith("authority.key") for it in declared.values())


def test_only_the_trainer_is_given_the_private_key() -> None:
    assert "trainer-key" in service("trainer")["secrets"]
    assert "trainer-key" not in service("balance-ball")["secrets"]


def test_runs_are_kept_on_a_named_volume() -> None:
    assert "runs:/runs" in service("trainer")["volumes"]
    assert "runs" in compose()["volumes"]
    assert run_config().runs_directory == Path("/runs")


def test_the_trainer_asks_for_tls_and_the_token_beyond_loopback() -> None:
    server = run_config().server
    address = parse_address(server.address)
    assert not address.is_local
    check_exposure(address, server)
    assert not server.insecure
    given = [SECRETS + secret for secret in service("trainer")["secrets"]]
    for file in (server.tls_certificate, server.tls_key, server.token_file):
        assert str(file) in given


def test_simulators_dial_the_trainer_with_tls_and_the_token() -> None:
    simulator = service("balance-ball")
    options = entrain_env.parser().parse_args(shlex.split(simulator["command"]))
    host, _, port = options.connect.partition(":")
    assert host in compose()["services"]
    assert run_config().server.address.endswith(f":{port}")
    given = [SECRETS + secret for secret in simulator["secrets"]]
    assert str(options.tls_ca) in given
    assert str(options.token_file) in given
    assert set(simulator["networks"]) & set(service("trainer")["networks"])


def test_simulators_start_once_the_trainer_is_healthy_and_again_if_they_die() -> None:
    simulator = service("balance-ball")
    assert simulator["depends_on"] == {"trainer": {"condition": "service_healthy"}}
    assert simulator["restart"] == "on-failure"
    assert simulator["scale"] == run_config().simulators.expect == 2


def test_the_health_check_trusts_the_authority_that_signed_the_trainer() -> None:
    trainer = service("trainer")
    assert trainer["environment"]["ENTRAIN_HEALTH_CA"] == SECRETS + "authority"
    assert "authority" in trainer["secrets"]


def test_the_trainer_may_take_longer_to_stop_than_an_update_may_take() -> None:
    grace = service("trainer")["stop_grace_period"]
    assert float(grace.removesuffix("s")) > 2 * run_config().stop_timeout_s


def test_the_trainer_trains_what_is_mounted() -> None:
    command = service("trainer")["command"]
    assert command == ["train", "/config/run.yaml", "--resume-or-start"]
    assert service("trainer")["restart"].startswith("on-failure")
    assert "./run.yaml:/config/run.yaml:ro" in service("trainer")["volumes"]


@pytest.mark.parametrize("script", ["containers.sh", "make-certificates.sh"])
def test_a_script_can_be_run_and_stops_at_the_first_error(script: str) -> None:
    path = DOCKER / script
    assert path.stat().st_mode & stat.S_IXUSR or sys.platform == "win32"
    lines = path.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines


def test_make_containers_calls_the_script() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assert re.search(r"^containers:.*\n\tdocker/containers\.sh$", makefile, re.MULTILINE)


# A game of one's own


def test_an_example_of_ones_own_game_is_served_from_the_simulators_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = DOCKER / "own-simulator"
    stage = instructions(folder / "Dockerfile")
    assert arguments_of("ARG", stage) == ["BASE=localhost/entrain-simulator:latest"]
    assert arguments_of("FROM", stage) == ["${BASE}"]
    assert arguments_of("COPY", stage) == ["cart.py /opt/game/"]
    assert not arguments_of("USER", stage)  # it stays that of the base
    command = [
        word
        for name in ("ENTRYPOINT", "CMD")
        for word in yaml.safe_load(arguments_of(name, stage)[0])
    ]
    options = entrain_env.parser().parse_args([*command[1:], "--connect", "trainer:50051"])
    assert (options.environment, options.count, options.behaviour) == ("cart:Cart-v0", 16, "cart")

    monkeypatch.syspath_prepend(str(folder))
    game = gymnasium.make(options.environment)
    check_env(game.unwrapped, skip_render_check=True)
    # Pushed to one side it leaves the track; the sum of rewards says that this is bad.
    game.reset(seed=1)
    rewards = []
    for _ in range(200):
        _, reward, terminated, _, _ = game.step(np.ones(1, np.float32))
        rewards.append(float(reward))
        if terminated:
            break
    assert rewards[-1] == -10.0
    assert len(rewards) < 200


def test_the_file_for_websocket_adds_an_option_and_a_port_of_this_machine() -> None:
    added = yaml.safe_load((DOCKER / "websocket.yaml").read_text())["services"]
    assert set(added) == {"trainer"}
    assert set(added["trainer"]) == {"command", "ports"}
    *usual, option, address = added["trainer"]["command"]
    assert (usual, option) == (service("trainer")["command"], "--websocket")
    # TLS and the token are those of the run's file, so that it may be reached from outside.
    config = load_config(DOCKER / "run.yaml", [f"server.websocket={address}"])
    assert config.server.websocket == address
    check_exposure(parse_address(address), config.server)
    port = address.rpartition(":")[2]
    assert added["trainer"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    for page in ("containers", "websocket"):
        assert "docker/websocket.yaml" in (REPOSITORY / f"docs/{page}.md").read_text()
