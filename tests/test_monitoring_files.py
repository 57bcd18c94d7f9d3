"""Dashboard and alerts of docker/: they name what /metrics writes, and promtool takes them."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from entrain.metrics import METRICS
from entrain.page.exposition import Exposition
from entrain.supervise.exposition import Exposition as ServedRuns
from entrain.supervise.facts import ServiceFacts
from entrain.supervise.standings import PolicyStanding, RunStanding
from support.served_page import Served

DOCKER = Path(__file__).parents[1] / "docker"
PROMETHEUS = DOCKER / "prometheus"
RULES = PROMETHEUS / "alerts.yml"
DASHBOARD = DOCKER / "grafana/entrain.json"

ADDED_LABELS = {"job", "instance"}
"""By Prometheus, to all that it scrapes."""

# .ci/run installs it.
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is missing (Debian: apt-get install --no-install-recommends prometheus)",
)


def promtool(*arguments: str) -> None:
    told = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert told.returncode == 0, told.stdout + told.stderr


def standings() -> ServiceFacts:
    """A directory with one run."""
    policy = PolicyStanding(
        name="walker", env_steps=1, total_steps=2, return_last=0.0, env_steps_per_second=1.0
    )
    run = RunStanding(
        name="walk",
        state="running",
        words="",
        address="localhost:1",
        page_port=2,
        is_page_secure=False,
        process=3,
        restarts=4,
        again_in_s=0.0,
        seconds=5.0,
        policies=[policy],
    )
    return ServiceFacts(directory="lab", is_ready=True, ports="1-2", at_once=1, runs=[run])


@pytest.fixture(scope="module")
def written() -> Mapping[str, set[str]]:
    """{series that /metrics writes for a run with every metric: its labels}."""
    served = Served()
    values = {it.of("0") if it.is_family else it.name: 1.0 for it in METRICS}
    served.board.note_update("walker", values, {}, env_steps=1, wall_time=1.0)
    text = Exposition(served.source.run, served.board).render() + ServedRuns(standings).render()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def panels() -> Iterator[dict[str, Any]]:
    """Of the dashboard, without the headings."""
    yield from (each for each in json.loads(DASHBOARD.read_text())["panels"] if "targets" in each)


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of every panel and alert."""
    for panel in panels():
        for target in panel["targets"]:
            yield f"panel '{panel['title']}'", target["expr"]
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]


SELECTOR = re.compile(r"\b((?:entrain|process|up)(?:_\w+)?)\b(?:\{([^}]*)\})?")


def test_every_series_and_label_that_is_asked_for_is_written(
    written: Mapping[str, set[str]],
) -> None:
    asked = set()
    for where, expression in expressions():
        # Strings may hold anything, such as the name of the job.
        selectors = SELECTOR.findall(re.sub(r'"[^"]*"', '""', expression))
        assert selectors, where
        for series, matchers in selectors:
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) - ADDED_LABELS
            # Prometheus says itself whether a target is up; of processes Linux alone tells.
            if series == "up" or (series.startswith("process_") and sys.platform != "linux"):
                continue
            assert series in written, f"{where}: nothing writes {series}"
            assert labels <= written[series], f"{where}: {series} has no {labels}"
            asked.add(series)
        known = set().union(*(written.get(series, set()) for series, _ in selectors))
        for by in re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", expression):
            assert set(re.findall(r"\w+", by)) <= known | ADDED_LABELS, f"{where}: {by}"
    assert len(asked) > 25


def test_each_panel_says_what_it_shows_in_words_and_is_drawn_once() -> None:
    found = list(panels())
    assert all(panel["description"] for panel in found)
    for unique in ("id", "title"):
        assert len({panel[unique] for panel in found}) == len(found)
    corners = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in found]
    assert len(set(corners)) == len(corners)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in found)


def test_every_alert_is_tried_and_by_a_run_that_goes_well_not_raised() -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    well, *others = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    names = {rule["alert"] for group in groups for rule in group["rules"]}
    assert {each["alertname"] for each in well["alert_rule_test"]} == names
    assert not any("exp_alerts" in each for each in well["alert_rule_test"])
    tried = {
        each["alertname"]
        for test in others
        for each in test["alert_rule_test"]
        if "exp_alerts" in each
    }
    assert tried == names


@needs_promtool
def test_alerts_are_raised_when_they_should_be() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(PROMETHEUS / "alerts_test.yml"))


@needs_promtool
def test_the_configuration_and_every_panel_are_read_by_prometheus(tmp_path: Path) -> None:
    promtool("check", "config", "--syntax-only", str(PROMETHEUS / "prometheus.yml"))
    rules = [
        # As Grafana fills them in.
        {"record": f"panel:{number}", "expr": re.sub(r"\[\$__\w+\]", "[5m]", expression)}
        for number, (_, expression) in enumerate(expressions())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(path))


def test_the_compose_file_gives_prometheus_what_its_configuration_names() -> None:
    services = yaml.safe_load((DOCKER / "monitoring.yaml").read_text())["services"]
    (scraped,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    named = [scraped["tls_config"]["ca_file"], scraped["authorization"]["credentials_file"]]
    assert [Path(each).name for each in named] == services["prometheus"]["secrets"]
    command = services["trainer"]["command"]
    (target,) = scraped["static_configs"][0]["targets"]
    assert f"http.hosts=[{target.partition(':')[0]}]" in command
    assert f"0.0.0.0:{target.partition(':')[2]}" in command
    assert "http.read_token_file=/run/secrets/read-token" in command
    assert "$folder/read-token" in (DOCKER / "make-certificates.sh").read_text()
    for service in services.values():
        for source in service.get("volumes", []):
            host = source.partition(":")[0]
            assert not host.startswith(".") or (DOCKER / host).exists()
