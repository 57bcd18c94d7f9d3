"""Asks the page of a run, as programs do: finds it by the run's folder, shows the token, and says
in one line why there is no answer.
"""

import http.client
import json
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from entrain.app.launcher import TLS_CA
from entrain.config.load import load_config
from entrain.errors import ConfigError, ControlError, EntrainError
from entrain.quoting import shortened
from entrain.run.folder import RunFolder
from entrain.run.lock_probe import Hold, look_at

TIMEOUT_S = 20.0
MOST_ANSWER_BYTES = 64 * 2**20
MOST_WORDS = 2000


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run's page is, and what lets one in."""

    url: str
    token: str = field(repr=False)
    token_from: Path
    """For messages."""

    ca_file: Path | None = None
    """Whom to trust beside the system's authorities, if it is served over TLS."""

    checks_name: bool = True
    """Whether its certificate must be for the host that is dialled. Not on this machine, where the
    run itself says where it listens: its certificate is for the name that others use."""


def find_place(
    run: Path, *, address: str | None, token_file: Path | None, ca_file: Path | None
) -> Place:
    """Returns where the page of the run in folder `run` is.

    Args:
        run: its folder; of a run of another machine it need not be there.
        address: of the page; None: what the folder says.
        token_file: whose first line is the token; None: the folder's.
        ca_file: trusted authority; None: of ENTRAIN_TLS_CA, or the run's own certificate.

    Raises:
        ConfigError: there is no such run, or it has no page.
        ControlError: it does not run, or its token cannot be read.
    """
    folder = RunFolder(run)
    about: Mapping[str, str] = {}
    if address is None or token_file is None:
        about = _about(RunFolder.existing(run), is_here=address is None)
    if ca_file is None:
        ca_file = _own_certificate(folder)
    return Place(
        url=about["url"] if address is None else _url(address, has_ca=ca_file is not None),
        token=about["control_token"] if token_file is None else _first_line(token_file),
        token_from=folder.page if token_file is None else token_file,
        ca_file=ca_file,
        checks_name=address is not None,
    )


def _about(folder: RunFolder, *, is_here: bool) -> Mapping[str, str]:
    """The URL and the control token of the page, as the run wrote them."""
    path = folder.path
    if is_here and look_at(folder.lock_file).hold is not Hold.HELD:
        raise ControlError(f"{path} does not run; entrain info {path} says how it stands")
    try:
        about = json.loads(folder.page.read_text(encoding="utf-8"))
        return {name: str(about[name]) for name in ("url", "control_token")}
    except FileNotFoundError:
        raise ConfigError(
            f"{path} has no page, by which it could be controlled: it was started without http."
            f"address; stop it with a signal, and entrain resume {path} --http localhost:8080"
        ) from None
    except PermissionError:
        raise ControlError(
            f"{folder.page} belongs to another user; ask as that user, or give --address and "
            "--token-file"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ControlError(f"{folder.page} cannot be read: {error}") from None


def _own_certificate(folder: RunFolder) -> Path | None:
    if os.environ.get(TLS_CA):
        return Path(os.environ[TLS_CA])
    try:
        certificate = load_config(folder.config, []).server.tls_certificate
    except EntrainError:
        return None
    return certificate if certificate is not None and certificate.is_file() else None


def _url(address: str, *, has_ca: bool) -> str:
    scheme = "https" if has_ca else "http"
    return address if "://" in address else f"{scheme}://{address}/"


def _first_line(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {path} cannot be read: {error}") from None
    if not token.isascii() or not token:
        raise ConfigError(f"--token-file {path}: its first line is no token")
    return token


class PageClient:
    """Asks one page."""

    def __init__(self, place: Place, *, timeout_s: float = TIMEOUT_S) -> None:
        """Dial nothing yet; ConfigError if the place is not a URL."""
        self._place = place
        self._timeout_s = timeout_s
        try:
            parts = urlsplit(place.url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            parts, self._host, self._port = urlsplit(""), "", None
        if parts.scheme not in {"http", "https"} or not self._host:
            raise ConfigError(
                f"--address {place.url} is no address; give HOST:PORT, or https://HOST:PORT"
            )
        self._is_secure = parts.scheme == "https"

    def read(self, path: str, **query: str) -> Any:
        """Returns what the page answers to GET, as JSON. Raises ControlError."""
        asked = f"{quote(path)}?{urlencode(query)}" if query else path
        return self._ask("GET", asked, None)

    def ask(self, path: str, **fields: object) -> Any:
        """Returns what the page answers to POST with these fields.

        Raises:
            ConfigError: the run refuses what is asked, and says why.
            ControlError: it does not answer, or not to this token.
        """
        return self._ask("POST", path, json.dumps(fields).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        url = self._place.url
        headers = {
            "Authorization": f"Bearer {self._place.token}",
            "Content-Type": "application/json",
        }
        connection = self._connection()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read(MOST_ANSWER_BYTES)
        except ssl.SSLCertVerificationError as error:
            raise ControlError(
                f"the certificate of {url} is not trusted: {error.verify_message}; give the "
                "authority that signed it: --tls-ca FILE"
            ) from None
        except ssl.SSLError as error:
            raise ControlError(f"{url} speaks no TLS that is known here: {error.reason}") from None
        except TimeoutError:
            raise ControlError(f"{url} did not answer within {self._timeout_s:g} s") from None
        except socket.gaierror as error:
            raise ControlError(f"{url}: {error.strerror}") from None
        except (OSError, http.client.HTTPException) as error:
            words = getattr(error, "strerror", None) or type(error).__name__
            raise ControlError(f"{url} does not answer ({words}); does the run go on?") from None
        finally:
            connection.close()
        return self._understood(answer.status, content)

    def _connection(self) -> http.client.HTTPConnection:
        if not self._is_secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        context = ssl.create_default_context()
        context.check_hostname = self._place.checks_name
        if self._place.ca_file is not None:
            # The certificate itself may be what is trusted, without the authority that signed it.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            try:
                context.load_verify_locations(self._place.ca_file)
            except OSError as error:
                raise ConfigError(
                    f"--tls-ca {self._place.ca_file} cannot be used: {error.strerror or error}"
                ) from None
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=context
        )

    def _understood(self, status: int, content: bytes) -> Any:
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if 200 <= status < 300 and answer is not None:
            return answer
        words = answer.get("error") if isinstance(answer, dict) else None
        if status == 400 and words:
            raise ConfigError(shortened(str(words), MOST_WORDS))
        if status in {401, 403}:
            raise ControlError(
                f"{self._place.url} does not take the token in {self._place.token_from}: it is "
                "that of another run, or lets one read only"
            )
        what = words or "nothing that is understood; is it the page of a run?"
        said = shortened(str(what), MOST_WORDS)
        raise ControlError(f"{self._place.url} answers {status}: {said}")
