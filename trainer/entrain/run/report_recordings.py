"""Animations of the agents as the report shows them: small ones inside it, others by their path."""

import base64
import html
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

MOST = 12
"""Recordings shown, the newest ones."""

MAX_BYTES = 4 * 2**20
"""Largest animation that is put into the page."""

_KINDS = (b"GIF87a", b"GIF89a")
"""How a GIF begins."""


@dataclass(frozen=True)
class Recording:
    """One animation."""

    name: str
    """Of its file."""

    gif: bytes
    """Empty if it is only linked to."""


def read_recordings(folder: Path) -> Sequence[Recording]:
    """Returns the recordings in `folder`, the oldest first: before training, then after it."""
    try:
        files = [file for file in folder.iterdir() if file.suffix.lower() in {".gif", ".html"}]
        newest = sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name))[-MOST:]
        return [_read(file) for file in newest]
    except FileNotFoundError:
        return []
    except OSError as error:
        logger.warning("the report shows no recordings: %s", error)
        return []


def render_recordings(recordings: Sequence[Recording]) -> str:
    """Returns the report's section of them; "" if there are none."""
    if not recordings:
        return ""
    figures = "".join(map(_figure, recordings))
    return (
        f'<section>\n<h2>Recordings</h2>\n<div class="recordings">\n{figures}</div>\n</section>\n'
    )


def _read(file: Path) -> Recording:
    if file.suffix.lower() != ".gif" or file.stat().st_size > MAX_BYTES:
        return Recording(file.name, b"")
    content = file.read_bytes()
    return Recording(file.name, content if content.startswith(_KINDS) else b"")


def _figure(recording: Recording) -> str:
    name = html.escape(recording.name)
    link = f'<a href="recordings/{name}">{name}</a>'
    if not recording.gif:
        return f"<figure><figcaption>{link}</figcaption></figure>\n"
    encoded = base64.b64encode(recording.gif).decode("ascii")
    source = f"data:image/gif;base64,{encoded}"
    return f'<figure><img alt="{name}" src="{source}"><figcaption>{link}</figcaption></figure>\n'
