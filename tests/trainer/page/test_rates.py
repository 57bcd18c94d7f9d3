"""How often one peer may do something."""

from entrain.page.rates import MOST_PEERS, Rates


def test_a_peer_has_its_burst_and_then_its_rate() -> None:
    now_s = 0.0
    rates = Rates(per_s=2.0, burst=3.0, clock=lambda: now_s)
    assert [rates.take("a") for _ in range(4)] == [True, True, True, False]
    assert rates.take("b")
    now_s = 0.5
    assert [rates.take("a") for _ in range(2)] == [True, False]
    now_s = 100.0
    assert [rates.take("a") for _ in range(4)] == [True, True, True, False]


def test_peers_are_remembered_up_to_a_bound() -> None:
    rates = Rates(per_s=1.0, burst=1.0, clock=lambda: 0.0)
    for number in range(MOST_PEERS + 50):
        rates.take(str(number))
    assert len(rates) == MOST_PEERS
    assert not rates.take(str(MOST_PEERS + 49))
