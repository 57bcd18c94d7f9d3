"""Which port a run is given."""

import socket

import pytest

from entrain.errors import ConfigError
from entrain.supervise.ports import Ports, parse_ports
from support.ports import free_port


def test_ports_are_read_as_a_range_or_as_one() -> None:
    assert parse_ports("50100-50199", option="--ports") == Ports(50100, 50199)
    assert parse_ports("50100", option="--ports") == Ports(50100, 50100)
    assert str(Ports(1, 2)) == "1-2"
    assert len(Ports(1, 2)) == 2


@pytest.mark.parametrize("text", ["", "a-b", "2-1", "0-5", "1-70000", "1-2-3", "-5"])
def test_what_is_no_range_is_refused_by_the_options_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--ports is '.*expected FIRST-LAST"):
        parse_ports(text, option="--ports")


def test_a_run_gets_its_port_of_before_or_the_first_that_is_free() -> None:
    port = free_port()
    one = Ports(port, port)
    assert one.free_one("localhost", taken=(), before=0) == port
    assert one.free_one("localhost", taken=(), before=port) == port
    assert one.free_one("localhost", taken=(), before=port + 1) == port
    assert one.free_one("localhost", taken={port}, before=port) is None
    with socket.create_server(("127.0.0.1", port)):
        assert one.free_one("localhost", taken=(), before=port) is None
