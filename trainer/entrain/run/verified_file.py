"""A file that is read in blocks, later than its digest was checked: what is read is the same."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from entrain.errors import CheckpointError

BLOCK = 4 << 20


class VerifiedFile:
    """See the module. It holds one block in memory, and the digest of each."""

    def __init__(self, path: Path) -> None:
        """Read the whole file once, for its digests.

        Args:
            path: of a file; nobody writes to it as long as this is used.

        Raises:
            OSError: it cannot be read.
        """
        self._path = path
        self._digests: list[bytes] = []
        self._newest: tuple[int, bytes] = (-1, b"")
        whole = hashlib.sha256()
        self.num_bytes = 0
        """That were read."""
        with path.open("rb") as file:
            for block in _blocks(file):
                whole.update(block)
                self._digests.append(_digest(block))
                self.num_bytes += len(block)
        self.sha256 = whole.hexdigest()
        """Of the whole."""

    def __repr__(self) -> str:
        return f"<VerifiedFile {self._path}: {self.num_bytes:,} bytes>"

    def read(self, begin: int, end: int) -> bytes:
        """The bytes from `begin` to `end`; fewer where the file ends.

        Raises:
            CheckpointError: the file has changed since, or cannot be read any more.
        """
        indices = range(begin // BLOCK, -(-min(end, self.num_bytes) // BLOCK))
        parts = []
        for index in indices:
            start = index * BLOCK
            parts.append(self._block(index)[max(0, begin - start) : end - start])
        return b"".join(parts)

    def _block(self, index: int) -> bytes:
        if self._newest[0] != index:
            try:
                with self._path.open("rb") as file:
                    file.seek(index * BLOCK)
                    block = file.read(BLOCK)
            except OSError as error:
                raise CheckpointError(
                    f"{self._path} cannot be read any more: {error.strerror}; nobody may touch a "
                    "checkpoint while it is loaded: try it again"
                ) from error
            if _digest(block) != self._digests[index]:
                raise CheckpointError(
                    f"{self._path} has changed while it was read: its block {index} is another one "
                    "than when its digest was checked; try it again"
                )
            self._newest = index, block
        return self._newest[1]


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def _digest(block: bytes) -> bytes:
    return hashlib.sha256(block).digest()
