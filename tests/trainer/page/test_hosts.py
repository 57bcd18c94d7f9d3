"""By which names a page may be asked for."""

import pytest

from entrain.page.hosts import Hosts, host_of


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8080", "localhost"),
        ("trainer.example.:8080", "trainer.example"),
        ("[::1]:8080", "::1"),
        ("[::1]", "::1"),
        ("10.0.0.7:80", "10.0.0.7"),
        ("", ""),
        ("[::1", ""),
        ("[::1]8080", ""),
        ("evil.example:80:80", ""),
        ("localhost:port", ""),
    ],
)
def test_a_host_is_read_with_and_without_port(header: str, host: str) -> None:
    assert host_of(header) == host


def test_a_name_that_was_rebound_to_loopback_is_refused() -> None:
    hosts = Hosts("localhost")
    assert hosts.allow("localhost:8080", came_in_by="127.0.0.1")
    assert hosts.allow("127.0.0.1:8080", came_in_by="127.0.0.1")
    assert hosts.allow("[::1]:8080", came_in_by="::1")
    for name in ("evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io", "", "10.0.0.7"):
        assert not hosts.allow(name, came_in_by="127.0.0.1")


def test_all_addresses_are_asked_for_by_number_or_by_a_name_that_is_listed() -> None:
    hosts = Hosts("0.0.0.0", ["Trainer.example"])
    assert hosts.allow("10.0.0.7:8080", came_in_by="10.0.0.7")
    assert hosts.allow("10.0.0.7:8080", came_in_by="::ffff:10.0.0.7")
    assert hosts.allow("trainer.example", came_in_by="10.0.0.7")
    assert hosts.allow("localhost:8080", came_in_by="127.0.0.1")
    # Nobody asks for the wildcard, and localhost is not how another machine names this one.
    assert not hosts.allow("0.0.0.0:8080", came_in_by="10.0.0.7")
    assert not hosts.allow("localhost:8080", came_in_by="10.0.0.7")
