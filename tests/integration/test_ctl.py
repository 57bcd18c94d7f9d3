"""`entrain ctl` asks a run that goes on, over real sockets, and says why there is no answer."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from entrain.app import ctl
from entrain.app.ctl import Command, control, wait_for, words_of
from entrain.app.page_client import PageClient, find_place
from entrain.app.run_page import open_page
from entrain.app.training import TrainingRun
from entrain.cli import main
from entrain.errors import ConfigError, ControlError
from entrain.run.folder import RunFolder
from entrain_envs.simulators.balance_ball import BalanceBall
from integration.test_page_of_a_run import config_of, make_certificate
from live_run import config_from, simulators, train

RATE = "policies.*.algorithm.learning_rate=1e-3"


def client(run: Path, **given: Any) -> PageClient:
    usual = {"address": None, "token_file": None, "ca_file": None}
    return PageClient(find_place(run, **{**usual, **given}))


def asked(run: Path, command: Command, settings: Sequence[str] = ()) -> Mapping[str, Any]:
    answer = control(client(run), command, settings)
    assert all(isinstance(line, str) for line in words_of(command, answer))
    return answer


async def test_a_run_is_asked_everything_and_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctl, "LOOK_S", 0.01)
    config = config_of(tmp_path, 10**7)
    folder = RunFolder.create(tmp_path, "ball")
    folder.write_config((tmp_path / "config.yaml").read_text())
    stop, runs = asyncio.Event(), list[TrainingRun]()

    def moment(run: TrainingRun) -> bool:
        if not runs:
            page.attach(run, stop=stop.set)
            runs.append(run)
        return stop.is_set()

    async def ask(command: Command, settings: Sequence[str] = ()) -> Mapping[str, Any]:
        return await asyncio.to_thread(asked, folder.path, command, settings)

    async def use() -> None:
        while not (runs and runs[0].trainers and runs[0].env_steps > 300):
            await asyncio.sleep(0.01)
        await ask("set", [RATE])
        await ask("pause")
        waiting = partial(wait_for, client(folder.path), "pause", is_running=lambda: True)
        assert (await asyncio.to_thread(waiting)).startswith("paused at ")
        steps = (await ask("status"))["env_steps"]
        assert (await ask("metrics"))["ball"]["policy/kl"] is not None
        with pytest.raises(ConfigError, match="must be a number"):
            await ask("set", ["policies.*.algorithm.learning_rate=fast"])
        await ask("checkpoint")
        while not any(folder.checkpoints.glob(f"*-step-{steps}")):
            await asyncio.sleep(0.01)
        assert runs[0].env_steps == steps
        await ask("go-on")
        while runs[0].control.changes.waiting or runs[0].env_steps == steps:
            await asyncio.sleep(0.01)
        assert runs[0].control.changes.config.policies["*"].algorithm.learning_rate == 1e-3
        await ask("stop")

    with folder.lock(), open_page(config, folder) as page:
        async with page.serving():
            with simulators(f"unix:{tmp_path / 's'}", {"ball-0": BalanceBall(count=8)}):
                training = asyncio.create_task(train(config, folder, stop_at=moment, observer=page))
                try:
                    async with asyncio.timeout(30.0):
                        await use()
                finally:
                    stop.set()
                    outcome, _ = await training
                    # So the simulator ends, too.
                    few = runs[0].env_steps + 200
                    await train(config_of(tmp_path, few), folder, resumed=True)
    assert outcome == "stopped"


def test_why_there_is_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder.create(tmp_path, "ball")
    folder.write_config("name: ball\n")
    run = str(folder.path)
    assert main(["ctl", run, "status"]) == 8
    assert f"entrain: {run} does not run; entrain info {run} says" in capsys.readouterr().err
    assert main(["ctl", str(tmp_path / "other"), "status"]) == 2
    with folder.lock():
        assert main(["ctl", run, "status"]) == 2
        assert "it was started without http.address" in capsys.readouterr().err
        about = {"url": "http://localhost:1/", "control_token": "control-token-of-a-run"}
        folder.page.write_text(json.dumps(about))
        assert main(["ctl", run, "set"]) == 2
        assert "set takes at least one PATH=VALUE" in capsys.readouterr().err
        assert main(["ctl", run, "status"]) == 8
        assert "http://localhost:1/ does not answer (Connection refused)" in capsys.readouterr().err
        folder.page.write_text("{}")
        assert main(["ctl", run, "status"]) == 8
    assert main(["ctl", run, "dance"]) == 2


async def test_a_certificate_and_a_token_are_checked(tmp_path: Path) -> None:
    certificate, key = tmp_path / "trainer.pem", tmp_path / "trainer.key"
    make_certificate(certificate, key)
    text = f"""
server: {{tls_certificate: {certificate}, tls_key: {key}}}
http: {{address: "127.0.0.1:0"}}
"""
    config, folder = config_from(text, tmp_path), RunFolder.create(tmp_path, "ball")
    folder.write_config(text)
    token, wrong = tmp_path / "token", tmp_path / "wrong"
    wrong.write_text("another-token-of-a-run\n")
    with folder.lock(), open_page(config, folder) as page:
        token.write_text(json.loads(folder.page.read_text())["control_token"] + "\n")
        async with page.serving():

            async def status(run: Path = folder.path, **given: Any) -> str:
                asking = partial(control, client(run, **given), "status", ())
                return str((await asyncio.to_thread(asking))["phase"])

            # Its certificate is for the name localhost, and the run listens on a number.
            assert await status() == "starting"
            away = {"run": tmp_path / "away", "token_file": token}
            named = page.url.replace("127.0.0.1", "localhost")
            assert await status(**away, address=named, ca_file=certificate) == "starting"
            with pytest.raises(ControlError, match=r"certificate of .* is not trusted"):
                await status(**away, address=named)
            with pytest.raises(ControlError, match=r"certificate of .* is not trusted"):
                await status(**away, address=page.url, ca_file=certificate)
            with pytest.raises(ControlError, match=f"does not take the token in {wrong}"):
                await status(token_file=wrong)
            with pytest.raises(ConfigError, match="is no address"):
                await status(**away, address="ftp://localhost")
            with pytest.raises(ControlError, match="does not answer"):
                await status(**away, address=named.replace("https", "http"))
