"""News of a run: which are told, how often, and what is in them."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from entrain.app.notices import MOST_ALARMS, Alarms, Notices, notices_of
from entrain.app.poster import Poster, Target
from entrain.config.differences import differences
from entrain.config.hiding import without_secrets
from entrain.config.load import load_config, to_yaml
from entrain.config.notify import NotifyConfig
from entrain.errors import ConfigError, NoSimulatorError
from entrain.run.folder import RunFolder
from live_run import config_from
from trainer.app.test_poster import inbox

URL = "https://user:password@hooks.example:8443/T0/secret?key=secret"


def told_by(**options: Any) -> tuple[Notices, list[dict[str, Any]], Poster]:
    told: list[dict[str, Any]] = []
    sender = Poster(
        lambda: Target(url="http://localhost/"),
        what="notify",
        timeout_s=1.0,
        retries=0,
        send=lambda _target, content, _timeout_s: told.append(json.loads(content)),
    )
    return Notices(NotifyConfig(**options), "walk", [sender]), told, sender


def test_an_alarm_of_one_kind_is_told_once_an_hour() -> None:
    now_s, told = 0.0, list[str]()
    alarms = Alarms(lambda level, text: told.append(f"{level} {text}"), clock=lambda: now_s)
    logger = logging.getLogger("entrain.test_notices")
    logger.addHandler(alarms)
    try:
        for update in (1, 2):
            logger.warning("entropy fell in update %d", update)
        logger.info("update 3")
        now_s = 3600.0
        logger.warning("entropy fell in update %d", 4)
        for kind in range(100):
            logger.error(f"kind {kind}")
    finally:
        logger.removeHandler(alarms)
    assert told[:2] == ["WARN entropy fell in update 1", "WARN entropy fell in update 4"]
    assert len(told) == 1 + MOST_ALARMS


def test_only_events_that_are_asked_for_are_told() -> None:
    notices, told, sender = told_by(events=["failure"])
    notices.alarm("WARN", "entropy fell")
    notices.failure(NoSimulatorError("no simulator came"))
    sender.close(within_s=10.0)
    (message,) = told
    assert message["event"] == "failure"
    assert (message["outcome"], message["exit_code"]) == ("failed", 5)
    assert (message["run"], message["text"]) == ("walk", "walk: no simulator came")


def test_an_error_that_ends_a_run_is_told_to_all(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    with inbox(200) as one, inbox(500, 200) as other:
        config = config_from(f"notify: {{url: [{one.url}, {other.url}], retries: 1}}", tmp_path)
        with pytest.raises(NoSimulatorError), notices_of(config, folder):
            logging.getLogger("entrain").warning("something is wrong")
            raise NoSimulatorError("no simulator came")
    for each in (one, other):
        assert [it["event"] for it in each.taken] == ["alarm", "failure"]


def test_a_secret_is_shown_nowhere(tmp_path: Path) -> None:
    config = config_from(f"notify: {{url: '{URL}'}}\nname: walk", tmp_path)
    text = to_yaml(config)
    assert "secret" in text
    hidden = without_secrets(text)
    assert "https://hooks.example:8443/..." in hidden
    assert "secret" not in hidden
    assert "password" not in hidden
    # What is no notice is as it was.
    assert hidden.replace("https://hooks.example:8443/...", URL) == text
    for written in (f"notify: {{url: [{URL}]}}\n", f"notify:\n  url:\n    - {URL}\n"):
        assert "secret" not in without_secrets(written)
    found = differences(config, load_config(None, ["name=walk"]))
    assert found
    assert "secret" not in "; ".join(map(str, found))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://hooks.example/", r"url .* must be .*https:// or http://"),
        ("https:///nowhere", "url is no URL with a host"),
        ("https://hooks.example:x/", "url is no URL with a host"),
    ],
)
def test_other_urls_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_from(f"notify: {{url: '{text}'}}", tmp_path)


def test_urls_may_stand_in_a_file(tmp_path: Path) -> None:
    folder, file = RunFolder.create(tmp_path, "walk"), tmp_path / "urls"
    config = config_from(f"notify: {{url_file: {file}}}", tmp_path)
    with pytest.raises(ConfigError, match=r"notify\.url_file is .*cannot be read"):
        notices_of(config, folder).__enter__()
    file.write_text("https://hooks.example/a\nsecret\n")
    with pytest.raises(ConfigError, match="no http or https URL") as caught:
        notices_of(config, folder).__enter__()
    assert "secret" not in str(caught.value)
    file.write_text("https://hooks.example/a\n")
    with notices_of(config, folder):
        pass
