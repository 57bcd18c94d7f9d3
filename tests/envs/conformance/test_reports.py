"""What a check reports, for people and programs; where it may listen; its exit code."""

import json
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from entrain_envs.__main__ import main
from entrain_envs.conformance import command
from entrain_envs.conformance.listening import Access, read_place
from entrain_envs.conformance.report import as_json, as_junit, in_lines
from entrain_envs.conformance.results import Results, Verdict
from entrain_envs.conformance.rules import RULES
from entrain_envs.conformance.script import Script
from entrain_envs.errors import OptionError


@pytest.fixture
def results() -> Results:
    """One rule kept twice, one broken twice, one with a reason why it was not shown."""
    results = Results()
    results.passed("sequence", "version")
    results.passed("sequence")
    results.failed("mask", "action_mask holds 255", "write 1")
    results.failed("mask", "action_mask holds 7", "write 1")
    results.passed("mask")
    results.not_shown("inquires", "only 3 s were left")
    return results


def test_lines_name_the_first_failure_its_remedy_and_what_would_show_a_rule(
    results: Results,
) -> None:
    text = in_lines(results.findings(), simulator="game")
    assert "arrived: action_mask holds 255 (2 times; this is the first)" in text
    assert "remedy:  write 1" in text
    assert "only 3 s were left; shown by: a --timeout of 90 or more" in text
    others = len(RULES) - 3
    assert text.endswith(f"game: 2 rules passed, 1 failed, {others} not shown\n")


def test_json_has_every_rule(results: Results) -> None:
    content = json.loads(as_json(results.findings(), simulator="game"))
    assert content["passed"] is False
    assert [each["name"] for each in content["rules"]] == [rule.name for rule in RULES]
    verdicts = {each["name"]: each["verdict"] for each in content["rules"]}
    assert (verdicts["sequence"], verdicts["mask"]) == ("passed", "failed")


def test_junit_has_a_case_for_every_rule_and_survives_any_name(results: Results) -> None:
    suite = ElementTree.fromstring(as_junit(results.findings(), simulator="ga\x00me<"))
    assert len(suite.findall("testcase")) == len(RULES)
    assert (suite.get("failures"), suite.get("skipped")) == ("1", str(len(RULES) - 3))
    (failure,) = suite.findall("testcase/failure")
    assert failure.get("message") == "action_mask holds 255"


def test_what_strangers_send_stays_on_one_line_and_short() -> None:
    results = Results()
    results.failed("messages", "a\n\x1b[31mred" + "x" * 5000, "write it")
    (finding,) = [each for each in results.findings() if each.verdict is Verdict.FAILED]
    assert finding.arrived.startswith("a??[31mred")
    assert len(finding.arrived) == 1000


def test_a_failure_outweighs_what_passes_later(results: Results) -> None:
    mask = next(each for each in results.findings() if each.rule.name == "mask")
    assert mask.verdict is Verdict.FAILED


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "example.org:1", "10.0.0.7:50051"])
def test_other_machines_need_tls_and_token(address: str) -> None:
    place = read_place(address, option="--listen")
    with pytest.raises(OptionError, match=r"no TLS .* and no token"):
        Access().check_exposure(place, insecure=False)
    with pytest.raises(OptionError, match="no token"):
        Access(certificate=b"x", key=b"y").check_exposure(place, insecure=False)
    Access(certificate=b"x", key=b"y", token="t").check_exposure(place, insecure=False)
    Access().check_exposure(place, insecure=True)


@pytest.mark.parametrize("address", ["localhost:0", "127.0.0.1:7", "[::1]:7", "unix:/tmp/x"])
def test_this_machine_needs_neither(address: str) -> None:
    Access().check_exposure(read_place(address, option="--listen"), insecure=False)


@pytest.mark.parametrize(
    "address", ["localhost", ":5", "a:b:5", "localhost:70000", "unix:", "http://a:5"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(OptionError, match="--listen is"):
        read_place(address, option="--listen")


def test_nobody_dials_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    code = main(["check", "--listen", "localhost:0", "--timeout", "0.05", "--json", str(report)])
    assert code == 1
    assert "no simulator dialled" in capsys.readouterr().err
    assert json.loads(report.read_text())["passed"] is False


def test_a_rule_that_does_not_exist_cannot_be_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--listen", "localhost:0", "--need", "masks"]) == 2
    assert "--need masks: no such rule" in capsys.readouterr().err


def test_a_command_that_cannot_be_started_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--listen", "localhost:0", "--", "/nowhere/game"]) == 2
    assert "cannot start '/nowhere/game': No such file" in capsys.readouterr().err


def test_a_command_that_ends_without_dialling_is_not_waited_for(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    began_s = time.monotonic()
    assert main(["check", "--listen", "localhost:0", "--", sys.executable, "-c", "pass"]) == 1
    assert time.monotonic() - began_s < 60.0
    assert "the simulator ended and said no Hello" in caplog.text
    assert "no simulator dialled" in capsys.readouterr().err


def test_files_of_tls_are_given_together_and_can_be_read(tmp_path: Path) -> None:
    there, gone = tmp_path / "cert.pem", tmp_path / "gone.pem"
    there.write_text("PEM")
    for certificate, key, client_ca, words in (
        (there, None, None, "needs both --tls-certificate and --tls-key"),
        (None, there, None, "needs both --tls-certificate and --tls-key"),
        (None, None, there, "--tls-client-ca needs --tls-certificate and --tls-key"),
        (there, gone, None, f"cannot read {gone}: No such file"),
    ):
        with pytest.raises(OptionError, match=words):
            Access.read(token_file=None, certificate=certificate, key=key, client_ca=client_ca)


def test_a_check_that_is_interrupted_reports_what_was_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(script: Script) -> Results:
        script.results.passed("sequence")
        raise KeyboardInterrupt

    monkeypatch.setattr(Script, "run", run)
    assert main(["check", "--listen", "localhost:0", "--need", "mask"]) == 1
    out, err = capsys.readouterr()
    assert "1 rules passed, 0 failed" in out
    assert "needed and not shown: mask" in err


def test_a_report_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "no" / "report.xml"
    options = ["check", "--listen", "localhost:0", "--timeout", "0.01", "--junit", str(report)]
    assert main(options) == 2
    assert f"cannot write {report}: No such file" in capsys.readouterr().err


def test_a_check_listens_for_websockets_if_the_package_is_there(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = ["check", "--listen", "ws://localhost:0", "--timeout", "0.01"]
    with caplog.at_level("INFO", "entrain_envs"):
        assert main(options) == 1
    assert "waiting for a simulator to dial ws://localhost:" in caplog.text
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(options) == 2
    assert "pip install 'entrain-envs[websocket]'" in capsys.readouterr().err


def test_a_time_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "--listen", "localhost:0", "--timeout", "-1"])
    assert "-1 is no number of seconds above 0" in capsys.readouterr().err
