"""Install the wheels of `dist/` in a fresh environment, and train a policy with what they hold.

    python tests/try_wheels.py dist

`make wheels` builds them first. Needs the package index, and a minute or two. The index may hold a
stranger's package of one of our names, so ours are installed without it, after everything that
they need; that is taken from the index, pinned by constraints.txt, torch first.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = ("entrain-envs", "entrain-rl")
TOTAL_STEPS = 4096

CONFIG = f"""
name: wheels
policies:
  "*":
    total_steps: {TOTAL_STEPS}
"""


def requirements(wheel: Path) -> list[str]:
    """What the wheel needs, without extras and without our own distributions."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    needed = metadata.get_all("Requires-Dist", [])
    names = {each: re.split(r"[^\w.-]", each, maxsplit=1)[0].lower() for each in needed}
    return [each for each in needed if "extra ==" not in each and names[each] not in OURS]


class FreshEnvironment:
    """A virtual environment with nothing in it, and a folder outside the source tree to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self._scripts = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
        venv.create(folder / "environment", with_pip=True)
        inherited = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
        self._environ = {name: value for name, value in os.environ.items() if name not in inherited}

    def command(self, name: str, *arguments: str) -> list[str]:
        """A program of the environment with its arguments."""
        return [str(self._scripts / name), *arguments]

    def run(self, name: str, *arguments: str) -> str:
        """Output of a program of the environment, run in the work folder; SystemExit on failure."""
        return _run(self.command(name, *arguments), self.folder, self._environ)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a program of the environment in the work folder."""
        return subprocess.Popen(
            self.command(name, *arguments), cwd=self.folder, env=self._environ, text=True
        )

    def install_from_index(self, *packages: str) -> None:
        """Install with pip as it is configured here, pinned by constraints.txt."""
        constraints = str(ROOT / "constraints.txt")
        self.run("python", "-m", "pip", "install", "--quiet", "-c", constraints, *packages)

    def install_ours(self, dist: Path) -> None:
        """Install our two distributions from `dist` alone: no index and no configuration of pip."""
        alone = {name: it for name, it in self._environ.items() if not name.startswith("PIP_")}
        alone["PIP_CONFIG_FILE"] = os.devnull
        pip = self.command("python", "-m", "pip", "install", "--no-index", "--find-links")
        _run([*pip, str(dist), *OURS], self.folder, alone)


def _run(command: Sequence[str], folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environ, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def check_files(environment: FreshEnvironment) -> None:
    """Both packages come from the environment; type markers and the wire contract are there."""
    script = (
        "import entrain, entrain_envs; from importlib.resources import files;"
        "print(files('entrain') / 'py.typed', files('entrain_envs') / 'py.typed',"
        "files('entrain_envs') / 'proto/entrain/v1/trainer.proto', sep='\\n')"
    )
    for path in map(Path, environment.run("python", "-c", script).splitlines()):
        if not path.is_file() or environment.folder.parent not in path.parents:
            sys.exit(f"{path} is not a file of the fresh environment")


def train(environment: FreshEnvironment) -> None:
    """Trainer and simulator, two processes with gRPC between them, until the run is complete."""
    (environment.folder / "run.yaml").write_text(CONFIG, encoding="utf-8")
    with socket.create_server(("localhost", 0)) as free:
        address = f"localhost:{free.getsockname()[1]}"
    trainer = environment.start("entrain", "train", "run.yaml", "--address", address)
    simulator = environment.start(
        *("entrain-env", "gymnasium", "CartPole-v1", "--count", "8", "--connect", address)
    )
    try:
        codes = [process.wait(timeout=300) for process in (trainer, simulator)]
    finally:
        for process in (trainer, simulator):
            process.kill()
    if any(codes):
        sys.exit(f"trainer and simulator ended with {codes}; expected [0, 0]")
    (folder,) = (environment.folder / "runs").iterdir()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    steps = summary["policies"]["CartPole-v1"]["progress"]["env_steps"]
    if summary["outcome"] != "completed" or steps < TOTAL_STEPS:
        sys.exit(f"the run is {summary['outcome']} after {steps} env steps")


def main(dist: Path) -> None:
    """Install, look, run and train; each step prints one line."""
    wheels = sorted(dist.glob("*.whl"))
    if [wheel.name.partition("-")[0].replace("_", "-") for wheel in wheels] != list(OURS):
        sys.exit(f"{dist} holds {[wheel.name for wheel in wheels]}; expected one of each of {OURS}")
    with tempfile.TemporaryDirectory() as scratch:
        environment = FreshEnvironment(Path(scratch).resolve())
        environment.install_from_index("torch")
        environment.install_from_index(*(each for it in wheels for each in requirements(it)))
        print("ok: third-party packages from the index")
        environment.install_ours(dist.resolve())
        environment.run("python", "-m", "pip", "check")
        print("ok: entrain-rl and entrain-envs from dist, without the index")
        check_files(environment)
        print("ok: py.typed and trainer.proto are installed")
        print(environment.run("entrain", "info"), end="")
        environment.run("entrain-env", "--help")
        train(environment)
    print(f"ok: {TOTAL_STEPS} env steps over gRPC, from outside the source tree")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
