"""Files that pretend to be a `checkpoint.pt` of mlagents-learn and ask for memory get little."""

import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(sys.platform == "win32", reason="memory is measured otherwise"),
]

ASKS = b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\xca\x9a\x3b\x00\x85R."
"""bytearray(10**9), in a pickle of 30 bytes."""

LOADS = """
import resource, sys
from pathlib import Path
from entrain.errors import CheckpointError
from entrain.unity.models.stock_checkpoint import load_stock_checkpoint
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_stock_checkpoint(Path(sys.argv[1]))
except CheckpointError as error:
    print(str(error).count("\\n"))
# In KiB on Linux, in bytes on macOS.
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown // (1 if sys.platform == "linux" else 1024))
"""


def asks(path: Path) -> None:
    torch.save({"a": torch.zeros(4)}, path)
    again(path, lambda pickle: ASKS)


def unpacks(path: Path) -> None:
    torch.save({"a": torch.zeros(4)}, path)
    # 100 million zeros instead of four, which compressed are 400 KB.
    number = b"J" + struct.pack("<i", 10**8)
    again(
        path,
        lambda pickle: pickle.replace(b"K\x04t", number + b"t").replace(
            b"K\x04\x85", number + b"\x85"
        ),
        zeros=4 * 10**8,
    )


def lists(path: Path) -> None:
    torch.save({"a": torch.zeros(4)}, path)
    with zipfile.ZipFile(path, "a") as file:
        for number in range(3000):
            part = zipfile.ZipInfo(f"archive/data/{number}")
            part.comment = bytes(65535)
            file.writestr(part, b"")


def again(path: Path, change: Callable[[bytes], bytes], *, zeros: int = 0) -> None:
    """Write the file with another pickle, and so many bytes of zeros as its tensor's numbers."""
    with zipfile.ZipFile(path) as before:
        content = {name: before.read(name) for name in before.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, part in content.items():
            if name.endswith("/data.pkl"):
                file.writestr(name, change(part), zipfile.ZIP_STORED)
            elif zeros and name.endswith("/data/0"):
                with file.open(name, "w") as target:
                    for _ in range(zeros // 10**6):
                        target.write(bytes(10**6))
            else:
                file.writestr(name, part, zipfile.ZIP_STORED)


@pytest.mark.parametrize("write", [asks, unpacks, lists])
def test_it_is_refused_in_one_line_within_32_mib(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    write(tmp_path / "checkpoint.pt")
    command = [sys.executable, "-c", LOADS, str(tmp_path / "checkpoint.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    lines_beyond_one, grown_kib = done.stdout.split()
    assert int(lines_beyond_one) == 0
    assert int(grown_kib) < 32 * 1024
