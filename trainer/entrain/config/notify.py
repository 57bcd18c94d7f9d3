"""The options of notices: which news of a run are posted, and to whom."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from entrain.config.fields import CountOrZero, Options, Positive

Event: TypeAlias = Literal["end", "failure", "alarm"]

MOST_URLS = 8

_Url = Annotated[
    str,
    Field(
        pattern=r"^https?://\S+$",
        json_schema_extra={"patternErrorMessage": "a URL that begins with https:// or http://"},
    ),
]


class NotifyConfig(Options):
    """Where news of the run are posted as JSON: its end, its failure, alarms."""

    url: _Url | tuple[_Url, ...] = ()
    """One URL, or a list of at most 8. It is shown nowhere, but stands in config.yaml; see
    `url_file`."""

    url_file: Path | None = None
    """File with one URL a line, for those that hold a secret."""

    events: tuple[Event, ...] = ("end", "failure", "alarm")
    """end: the run is completed or was stopped. failure: it ended with an error. alarm: what the
    log warns of, each kind once an hour."""

    timeout_s: Positive = 10.0
    """How long to wait for a server in one try, and at most for all of them when the run ends."""

    retries: CountOrZero = 4
    """Further tries, after 1, 2, 4, 8 s and so on, if a server is away or answers 5xx, 408, 425 or
    429. A redirect is not followed."""

    @model_validator(mode="after")
    def _check(self) -> "NotifyConfig":
        if len(self.urls) > MOST_URLS:
            raise ValueError(f"url has {len(self.urls)} entries; there may be {MOST_URLS}")
        for url in self.urls:
            require_host(url)
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """As a list; those of `url_file` are not among them."""
        return (self.url,) if isinstance(self.url, str) else self.url


def require_host(url: str) -> None:
    """Raise ValueError unless `url` is an http or https URL with a host; it does not tell it."""
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError("url is no URL with a host, such as https://hooks.example/T0/B0")
