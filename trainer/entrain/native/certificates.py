"""The TLS certificate of the gRPC port: its files are read again when they have changed."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc

from entrain.config.run import ServerConfig
from entrain.errors import ServeError
from entrain.native.credentials import authority_in, check_pair, read_pem

logger = logging.getLogger(__name__)


class ServerCertificates:
    """The newest valid certificate. Any thread may ask: gRPC does, in each handshake."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        """Read the files.

        Args:
            certificate: chain of the server.
            key: of the certificate.
            client_ca: signs the certificates that simulators must show; None: they need none.

        Raises:
            ServeError: a file is missing or wrong.
        """
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._guard = threading.Lock()
        self._seen = self._stamp()
        self._newest = self._read()
        # gRPC holds pointers to these and does not count them.
        self._given: list[grpc.ServerCredentials] = []

    def __repr__(self) -> str:
        return f"<ServerCertificates {self._certificate}>"

    @classmethod
    def of(cls, config: ServerConfig) -> "ServerCertificates | None":
        """The configured certificates, or None; ServeError if a file is missing or wrong."""
        if config.tls_certificate is None or config.tls_key is None:
            return None
        return cls(config.tls_certificate, config.tls_key, config.tls_client_ca)

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials for one port. They are good as long as this object lives."""
        newest = self._newest
        credentials = grpc.dynamic_ssl_server_credentials(
            newest,
            # It may return None, of which the types know nothing.
            self._changes_since(newest),  # type: ignore[arg-type]
            self._client_ca is not None,
        )
        self._given.append(credentials)
        return credentials

    def _changes_since(
        self, shown: grpc.ServerCertificateConfiguration
    ) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
        """Returns one port's callback for handshakes: it returns a newer certificate, or None."""

        def newer() -> grpc.ServerCertificateConfiguration | None:
            nonlocal shown
            newest = self._look()
            if newest is shown:
                return None
            shown = newest
            return newest

        return newer

    def _look(self) -> grpc.ServerCertificateConfiguration:
        with self._guard:
            stamp = self._stamp()
            if stamp != self._seen:
                self._renew(stamp)
            return self._newest

    def _renew(self, stamp: Sequence[object]) -> None:
        """Read the files again; keep the old certificate if they are invalid or being written."""
        try:
            newest = self._read()
        except ServeError as error:
            self._seen = stamp
            logger.warning("simulators are shown the certificate from before: %s", error)
            return
        if self._stamp() != stamp:
            return
        self._seen, self._newest = stamp, newest
        logger.info("simulators are shown the certificate that is in %s now", self._certificate)

    def _stamp(self) -> Sequence[object]:
        """Changes when one of the files does."""
        try:
            known = [path.stat() for path in self._files]
        except OSError as error:
            return [error.errno, error.filename]
        return [(it.st_mtime_ns, it.st_size, it.st_ino) for it in known]

    @property
    def _files(self) -> Sequence[Path]:
        further = [] if self._client_ca is None else [self._client_ca]
        return [self._certificate, self._key, *further]

    def _read(self) -> grpc.ServerCertificateConfiguration:
        certificate = read_pem(self._certificate, "server.tls_certificate")
        key = read_pem(self._key, "server.tls_key")
        check_pair(self._certificate, self._key)
        authority = None if self._client_ca is None else authority_in(self._client_ca)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)
