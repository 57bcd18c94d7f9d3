"""Printing never fails a program: text for a reader who is gone, or a full disk, is dropped."""

import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import typer

from entrain.errors import ConfigError


class _Forgiving(io.RawIOBase):
    """Bytes go on to another raw stream; those that it refuses are dropped."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, content: Any, /) -> int | None:
        try:
            return self._raw.write(content)
        except OSError:
            return memoryview(content).nbytes


def write_text(text: str, output: Path | None) -> None:
    """Write to a file, or print if none is named."""
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror or error}") from None


def print_without_failing() -> None:
    """Let this process's stdout and stderr drop what cannot be printed.

    Characters that the console lacks are replaced. A stream that something else has put in the
    place of the process's own, such as a test, stays as it is but for that.
    """
    sys.stdout = _made_safe(sys.stdout, sys.__stdout__, errors="replace")
    sys.stderr = _made_safe(sys.stderr, sys.__stderr__, errors="backslashreplace")


def _made_safe(stream: TextIO | None, own: TextIO | None, *, errors: str) -> TextIO:
    if stream is None:
        # The process was started with this stream closed.
        return Path(os.devnull).open("w", encoding="utf-8")
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=errors)
    if stream is not own or not isinstance(stream, io.TextIOWrapper):
        return stream
    buffer = stream.buffer
    raw = buffer if isinstance(buffer, io.RawIOBase) else getattr(buffer, "raw", None)
    if not isinstance(raw, io.RawIOBase):
        return stream
    stream.flush()
    forgiving: Any = _Forgiving(raw)
    return io.TextIOWrapper(
        # Without buffers (python -u) Python itself wraps the raw stream.
        forgiving if buffer is raw else io.BufferedWriter(forgiving),
        encoding=stream.encoding,
        errors=errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
