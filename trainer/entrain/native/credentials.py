"""Reads certificates from files, and checks the bearer token of a call."""

import hmac
import logging
import ssl
from collections.abc import Iterable
from pathlib import Path

from entrain.errors import ServeError, UnauthenticatedError

logger = logging.getLogger(__name__)


def read_pem(path: Path, option: str) -> bytes:
    """The content of a PEM file; ServeError naming the option if it is not one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ServeError(f"{option} is {path}, which cannot be read: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise ServeError(
            f"{option} is {path}, which is no PEM file; it must hold a line '-----BEGIN ...'"
        )
    return content


def check_pair(certificate: Path, key: Path) -> None:
    """Raise ServeError unless these files, of the server's options, belong together."""
    # gRPC would only say so to the first client that connects.
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            certificate, key, password=_no_password
        )
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ServeError(
            f"server.tls_certificate {certificate} and server.tls_key {key} do not work together "
            f"({error}); give the certificate chain and the unencrypted private key it was made for"
        ) from None


def _no_password() -> str:
    raise ValueError("the private key is encrypted")


def authority_in(path: Path) -> bytes:
    """Returns the PEM of an authority; ServeError if it has none."""
    content = read_pem(path, "server.tls_client_ca")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise ServeError(
            f"server.tls_client_ca is {path}, which has no certificate of an authority ({error})"
        ) from None
    return content


class TokenCheck:
    """Compares the bearer token of a call with the first line of a file.

    The file is read for every stream, so that a token can be exchanged while the trainer runs.
    While it is missing or empty, as in the moment in which it is written, the token that was read
    before is the one that counts.
    """

    def __init__(self, path: Path) -> None:
        """ServeError if the file cannot be read or has no token."""
        self._path = path
        self._token = self._read()
        self._trouble = ""

    def __repr__(self) -> str:
        return f"<TokenCheck {self._path}>"

    def _read(self) -> bytes:
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError as error:
            raise ServeError(
                f"server.token_file is {self._path}, which cannot be read: {error.strerror}"
            ) from None
        token = lines[0].strip() if lines else b""
        if not token:
            raise ServeError(
                f"server.token_file is {self._path}, whose first line is empty; write a secret "
                "into it, for instance with: openssl rand -hex 32"
            )
        return token

    def _newest(self) -> bytes:
        try:
            token = self._read()
        except ServeError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                logger.warning("simulators are asked for the token from before: %s", error)
            return self._token
        self._trouble = ""
        if token != self._token:
            self._token = token
            logger.info("simulators are asked for the token that is in %s now", self._path)
        return token

    def check(self, metadata: Iterable[tuple[str, str | bytes]], *, who: str) -> None:
        """Raise UnauthenticatedError unless `metadata` has `authorization: Bearer TOKEN`."""
        expected = self._newest()
        shown = [value for name, value in metadata if name.lower() == "authorization"]
        remedy = (
            "give the simulator the trainer's token (entrain-env: --token-file; TrainerClient: "
            "token; games in C++, Godot or Node: $ENTRAIN_TOKEN_FILE)"
        )
        if not shown:
            raise UnauthenticatedError(
                f"{who} showed no token; expected 'authorization: Bearer TOKEN' as metadata (over "
                f"WebSocket: as a header); {remedy}"
            )
        value = shown[0].encode() if isinstance(shown[0], str) else shown[0]
        scheme, _, token = value.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), expected):
            raise UnauthenticatedError(
                f"{who} showed a token that is not this trainer's, in 'authorization: Bearer "
                f"TOKEN'; {remedy}"
            )
