"""The options of a run's page: where it is served, by which names, who may read and who may act."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from entrain.config.fields import Options

HttpAddress = Annotated[
    str,
    Field(
        pattern=r"^(\[[^\s\[\]]+\]:[0-9]{1,5}|[^\s:\[\]]+:[0-9]{1,5})$",
        json_schema_extra={
            "patternErrorMessage": "HOST:PORT or [IPV6]:PORT, such as localhost:8080"
        },
    ),
]


class HttpConfig(Options):
    """A page that shows the run in a browser while it learns, its metrics and its API."""

    address: HttpAddress | None = None
    """HOST:PORT or [IPV6]:PORT, such as localhost:8080; null: no page. An address beyond loopback
    needs TLS (`server.tls_certificate` and `server.tls_key`), or `insecure`, and readers need a
    token."""

    insecure: bool = False
    """Allow a non-loopback address without TLS. Whoever reads along then learns the tokens."""

    hosts: tuple[str, ...] = ()
    """Names by which browsers may ask for the page, beside the one in `address` and the machine's
    own numbers; a request with another name in its header Host is refused."""

    read_token_file: Path | None = None
    """File whose first line lets programs and browsers read. null: one is made, and needed beyond
    loopback only."""

    control_token_file: Path | None = None
    """File whose first line lets them read and act on the run. null: one is made."""
