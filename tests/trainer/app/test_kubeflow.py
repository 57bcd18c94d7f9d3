"""Progress for Kubeflow: what is told, how often, to whom; that trouble there is none of the run's.

The form is that of `TrainerStatus` in Kubeflow Trainer 2.3 (pkg/apis/trainer/v1alpha1).
"""

import json
import logging
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from entrain.app.kubeflow import AUTHORITY, TOKEN, URL, KubeflowProgress, kubeflow_progress
from entrain.config.load import load_config
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

NEEDS_OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")
CONFIG = load_config(None, ["policies.left.total_steps=100", "policies.right.total_steps=300"])
DOCKER = Path(__file__).parents[3] / "docker"


def spec(name: str) -> BehaviourSpec:
    return BehaviourSpec(name, (ObservationSpec("seen", (4,)),), ActionSpec((-1.0,), (1.0,)))


class Watched:
    """A run of two policies, its clock, and what was told of it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.env_steps = {"left": 0, "right": 0}
        self.told: list[Mapping[str, Any]] = []
        self.progress = KubeflowProgress(
            CONFIG, self.told.append, clock=lambda: self.now_s, wall_clock=lambda: 86400.0
        )
        self.policies = {name: self._follow(name) for name in self.env_steps}

    def _follow(self, name: str) -> Any:
        return self.progress.follow(
            spec(name), lambda: None, lambda: self.env_steps[name], lambda: {}
        )

    def update(self, name: str, **metrics: float) -> None:
        measured = {it.replace("__", "/"): value for it, value in metrics.items()}
        self.policies[name].note_update(measured, {}, env_steps=self.env_steps[name])

    @property
    def newest(self) -> Mapping[str, Any]:
        status: Mapping[str, Any] = self.told[-1]["trainerStatus"]
        return status


def test_progress_is_that_of_all_policies_and_the_slowest_says_how_long() -> None:
    run = Watched()
    run.env_steps = {"left": 50, "right": 150}
    run.update("left", time__env_steps_per_second=10.0)
    assert run.newest["progressPercentage"] == 50
    assert "estimatedRemainingSeconds" not in run.newest  # nothing is known of the other
    run.now_s = 5.0
    run.update("right", time__env_steps_per_second=3.0, policy__kl=0.01234567)
    # left: 50 steps at 10 a second; right: 150 at 3 a second.
    assert run.newest == {
        "progressPercentage": 50,
        "estimatedRemainingSeconds": 50,
        "metrics": [
            {"name": "left/time/env_steps_per_second", "value": "10"},
            {"name": "right/policy/kl", "value": "0.0123457"},
            {"name": "right/time/env_steps_per_second", "value": "3"},
        ],
        "lastUpdatedTime": "1970-01-02T00:00:00Z",
    }


def test_it_is_told_every_five_seconds_at_most_and_at_the_end() -> None:
    run = Watched()
    for tenth in range(101):
        run.now_s = tenth / 10
        run.update("left")
    assert len(run.told) == 3  # at 0, 5 and 10 s
    run.env_steps = {"left": 202, "right": 300}
    run.progress.close()
    assert run.newest["progressPercentage"] == 100
    assert run.newest["estimatedRemainingSeconds"] == 0


def test_a_run_that_goes_on_tells_from_where() -> None:
    run = Watched()
    run.env_steps = {"left": 100, "right": 0}
    run.progress.resume_at(run.env_steps)
    assert run.newest["progressPercentage"] == 25


def test_what_is_not_finite_and_long_names_are_not_told_to_kubeflow() -> None:
    run = Watched()
    run.update("left", policy__kl=float("nan"), policy__entropy=float("inf"))
    assert run.newest["metrics"] == []
    name = "n" * 100
    run.env_steps[name] = 0
    run.policies[name] = run._follow(name)
    run.now_s = 9.0
    run.update(name, policy__kl=1.0)
    assert [len(it["name"]) for it in run.newest["metrics"]] == [64]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, ""),
        ({URL: "https://kubeflow/", "RANK": "1"}, ""),
        ({URL: "https://kubeflow/", TOKEN: "token"}, f"{AUTHORITY} is missing"),
        ({URL: "http://kubeflow/", TOKEN: "t", AUTHORITY: "a"}, f"{URL} is no https URL"),
    ],
)
def test_nothing_is_told_where_kubeflow_does_not_say_all_of_how(
    environment: Mapping[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with kubeflow_progress(CONFIG, environment) as progress:
        assert progress is None
    assert (said in caplog.text) if said else not caplog.text


class Controller:
    """Stands in for Kubeflow's controller: TLS, and a token that it checks."""

    def __init__(self, folder: Path) -> None:
        self.token = "first"
        self.taken: list[Mapping[str, Any]] = []
        self.codes: list[int] = []
        self.arrived = threading.Semaphore(0)
        controller = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                is_known = self.headers["Authorization"] == f"Bearer {controller.token}"
                code = 200 if is_known else 403
                if is_known:
                    controller.taken.append({"path": self.path, **content})
                controller.codes.append(code)
                self.send_response(code)
                self.send_header("Content-Length", "0")
                self.end_headers()
                controller.arrived.release()

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "trainer.pem", folder / "trainer.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        port = self.server.server_address[1]
        self.url = f"https://localhost:{port}/namespaces/n/trainjobs/j/status"


@contextmanager
def controller(folder: Path) -> Iterator[Controller]:
    made = Controller(folder)
    thread = threading.Thread(target=lambda: made.server.serve_forever(0.01))
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()


@NEEDS_OPENSSL
def test_a_controller_is_told_over_tls_with_the_token_of_now(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    secrets = tmp_path / "secrets"
    subprocess.run(
        ["bash", str(DOCKER / "make-certificates.sh"), str(secrets)],
        check=True,
        capture_output=True,
    )
    token = tmp_path / "token"
    token.write_text("first\n")
    with controller(secrets) as there:
        environment = {
            URL: there.url,
            TOKEN: str(token),
            AUTHORITY: str(secrets / "authority.pem"),
        }
        with kubeflow_progress(CONFIG, environment) as progress:
            assert progress is not None
            progress.resume_at({})
            assert there.arrived.acquire(timeout=10.0)
            there.token = "second"
            progress.close()  # the file still has the first
            assert there.arrived.acquire(timeout=10.0)
            token.write_text("second\n")
            progress.close()
        assert there.codes == [200, 403, 200]
    assert [it["path"] for it in there.taken] == ["/namespaces/n/trainjobs/j/status"] * 2
    assert all(it["trainerStatus"]["progressPercentage"] == 0 for it in there.taken)
    assert caplog.text.count("did not take a message: it answered 403") == 1
    assert "takes messages again" in caplog.text
    assert "second" not in caplog.text


def test_a_controller_that_is_gone_and_a_token_that_is_missing_are_one_line_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {
        URL: "https://localhost:1/",
        TOKEN: str(tmp_path / "token"),
        AUTHORITY: str(tmp_path / "ca.crt"),
    }
    with kubeflow_progress(CONFIG, environment) as progress:
        assert progress is not None
        for _ in range(3):
            progress.close()
    assert [it.getMessage() for it in caplog.records] == [
        "Kubeflow's progress: the server did not take a message: No such file or directory"
    ]
