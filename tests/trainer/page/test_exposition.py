"""What Prometheus scrapes."""

import cProfile

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from entrain.metrics import METRICS
from entrain.page.exposition import MOST_POLICIES, Exposition, series_name
from support.served_page import NAN, Served, policy, run_facts


def scraped(served: Served) -> dict[str, dict[tuple[str, ...], float]]:
    """{series: {labels' values: value}}."""
    text = Exposition(served.source.run, served.board).render().decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # By label, policy first.
            labels = tuple(value for _, value in sorted(sample.labels.items(), reverse=True))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_every_declared_metric_has_a_series_of_its_own() -> None:
    served = Served()
    names = {metric.name: metric.of("0") if metric.is_family else metric.name for metric in METRICS}
    served.board.note_update(
        "walker",
        {name: float(number) for number, name in enumerate(names.values())},
        {},
        env_steps=1,
        wall_time=1.0,
    )
    found = scraped(served)
    for number, metric in enumerate(METRICS):
        labels = ("walker", "0") if metric.is_family else ("walker",)
        assert found[series_name(metric)] == {labels: float(number)}, metric.name


def test_ledger_sessions_refusals_and_histograms_are_those_of_the_run() -> None:
    found = scraped(Served())
    assert found["entrain_steps_total"] == {
        ("walker", "opened"): 1010.0,
        ("walker", "closed"): 1000.0,
        ("walker", "dropped"): 2.0,
    }
    assert found["entrain_sessions_total"] == {("joined",): 1.0}
    assert found["entrain_refusals_total"] == {("bad_step",): 2.0}
    assert found["entrain_learner_starving_ratio"] == {(): 0.75}
    # 3 within a millisecond, 2 within ten, 1 above.
    assert found["entrain_exchange_latency_seconds_bucket"] == {
        ("0.001",): 3.0,
        ("0.01",): 5.0,
        ("+Inf",): 6.0,
    }
    assert found["entrain_exchange_latency_seconds_sum"] == {(): 0.5}
    assert found["entrain_batch_rows_count"] == {(): 6.0}


def test_what_is_not_a_number_is_said_as_that() -> None:
    served = Served()
    served.board.note_update("walker", {"policy/kl": NAN}, {}, env_steps=1, wall_time=1.0)
    (value,) = scraped(served)["entrain_policy_kl"].values()
    assert value != value  # noqa: PLR0124 - of NaN alone


def test_policies_beyond_the_bound_have_no_series_and_are_counted() -> None:
    served = Served()
    names = [f"policy-{number}" for number in range(MOST_POLICIES + 6)]
    served.source.facts = run_facts(policies=[policy(name) for name in names])
    for name in names:
        served.board.note_update(name, {"policy/kl": 1.0}, {}, env_steps=1, wall_time=1.0)
    found = scraped(served)
    assert len(found["entrain_policy_kl"]) == len(found["entrain_updates_total"]) == MOST_POLICIES
    assert found["entrain_policies_left_out"] == {(): 6.0}


def test_before_the_first_round_nobody_is_told_that_the_learner_starves() -> None:
    served = Served()
    served.source.facts = run_facts(shares={})
    assert "entrain_learner_starving_ratio" not in scraped(served)


def test_nothing_is_registered_globally() -> None:
    before = {family.name for family in REGISTRY.collect()}
    scraped(Served())
    assert {family.name for family in REGISTRY.collect()} == before


def calls_of_a_scrape(num_policies: int) -> int:
    """Calls of Python functions in one answer with every metric of so many policies."""
    served = Served()
    names = [f"policy-{number}" for number in range(num_policies)]
    served.source.facts = run_facts(policies=[policy(name) for name in names])
    metrics = {m.of("0") if m.is_family else m.name: 1.0 for m in METRICS}
    for name in names:
        served.board.note_update(name, metrics, {}, env_steps=1, wall_time=1.0)
    exposition = Exposition(served.source.run, served.board)
    profile = cProfile.Profile(builtins=False)
    profile.runcall(exposition.render)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_scrape_makes_few_calls_for_each_series() -> None:
    # What a thousand scrapes a minute take of a processor: `python -m benchmarks.page`.
    more, fewer = calls_of_a_scrape(11), calls_of_a_scrape(1)
    calls = (more - fewer) / 10
    assert 0 < calls < 16 * len(METRICS)
