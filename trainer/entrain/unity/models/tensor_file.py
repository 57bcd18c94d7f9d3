"""Reads a file that torch.save wrote: tensors, numbers and containers, whatever else it may hold.

Such a file is a pickle in a zip archive, so it could run code, or unpack to any size. Its pickle is
searched for names before torch's restricted loader reads it, so that nothing is called but what
makes a tensor; and it must not unpack to more than its own size, as torch.save writes it.
"""

import io
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from entrain.errors import CheckpointError
from entrain.quoting import shortened

LARGEST_BYTES: Final = 2**31
"""Of a file. The largest stock networks have a hundredth of this."""

LARGEST_PICKLE: Final = 2**22
"""Of the part that says which tensors there are, and of the list of all parts."""

MOST_RECORDS: Final = 20_000

ALLOWED: Final = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch FloatStorage",
        "torch DoubleStorage",
        "torch LongStorage",
    }
)
"""What a pickle may name. torch's loader allows more, among it `bytearray(10**12)`."""

_BY_OTHER_WAYS: Final = frozenset(
    {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}
)
"""Instructions that name or make something otherwise; torch.save writes none of them."""


def read_tensor_file(path: Path) -> Mapping[Any, Any]:
    """Read a dict, in about as much memory as the file takes; nothing in it is run.

    Raises:
        CheckpointError: there is none, it is damaged, too large, or holds something else.
    """
    try:
        _require_plain_archive(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path} is no checkpoint of mlagents-learn, or is damaged: it is no zip archive that "
            f"torch.save wrote ({shortened(str(error), 100)})"
        ) from None
    except Exception as error:  # a hostile file may make torch raise anything
        reason = shortened(str(error).strip().partition("\n")[0], 200)
        raise CheckpointError(
            f"{path} holds more than tensors, or is damaged, and was not loaded: "
            f"{type(error).__name__}: {reason}"
        ) from None
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(loaded).__name__}; a checkpoint of mlagents-learn is a dict"
        )
    return loaded


def is_plain(value: object) -> bool:
    """Whether it is a tensor of numbers, as large as it says: strides of zero can feign a size."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.dtype in {torch.float32, torch.float64, torch.int64}
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


class _WithSmallDirectory(io.FileIO):
    """A file of which no part above a bound is read at once: the list of what is in an archive."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As a file does; BadZipFile if more is asked for."""
        if size is not None and size > LARGEST_PICKLE:
            raise zipfile.BadZipFile(f"it lists its parts in {size:,} bytes")
        return super().read(size)


def _require_plain_archive(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise CheckpointError(f"cannot read {path}: it is no file")
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise CheckpointError(
            f"{path} has {size:,} bytes; a checkpoint of mlagents-learn has at most "
            f"{LARGEST_BYTES:,}"
        )
    with _WithSmallDirectory(path) as file, zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        unpacked = sum(each.file_size for each in records)
        if unpacked > size or len(records) > MOST_RECORDS:
            raise CheckpointError(
                f"{path} unpacks to {unpacked:,} bytes in {len(records):,} parts; a checkpoint of "
                f"mlagents-learn unpacks to no more than its own {size:,} bytes, in at most "
                f"{MOST_RECORDS:,} parts"
            )
        pickles = [each for each in records if each.filename.endswith(".pkl")]
        for each in pickles:
            if each.file_size > LARGEST_PICKLE:
                raise CheckpointError(
                    f"{path}: {shortened(each.filename, 40)} has {each.file_size:,} bytes; that of "
                    f"a checkpoint of mlagents-learn has at most {LARGEST_PICKLE:,}"
                )
            _require_tensors_alone(path, archive.read(each))


def _require_tensors_alone(path: Path, pickle: bytes) -> None:
    for instruction, argument, _ in pickletools.genops(pickle):
        named = str(argument) if instruction.name == "GLOBAL" else ""
        if (named and named not in ALLOWED) or instruction.name in _BY_OTHER_WAYS:
            what = shortened(named.replace(" ", ".") or instruction.name, 80)
            raise CheckpointError(
                f"{path} holds more than tensors, and was not loaded: it asks for {what}"
            )
