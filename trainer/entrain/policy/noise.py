"""Action noise that depends only on the slot and on how many actions it has taken.

Every slot owns a stream of numbers; its n-th action uses the n-th section of the stream. So an
agent's noise is the same for every order of arrival, in every batch, and after a restart.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

UInt64Array = npt.NDArray[np.uint64]

STREAM_BITS = 40
"""Each slot's stream has 2^40 numbers; the streams of slots below 2^24 never overlap."""

_GAMMA = 0x9E3779B97F4A7C15
_MODULUS = 2**64
_SLOT_STRIDE = np.uint64((_GAMMA << STREAM_BITS) % _MODULUS)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_UNUSED_BITS = np.uint64(12)


def uniform_noise(
    seed: int, slot: npt.NDArray[np.int64], counter: npt.NDArray[np.int64], size: int
) -> npt.NDArray[np.float64]:
    """Numbers uniform in the open interval (0, 1), a pure function of the arguments.

        index[k, d] = slot[k] * 2^40 + counter[k] * size + d
        bits[k, d]  = mix(seed + gamma * (index[k, d] + 1))        (modulo 2^64)

    is the index-th output of the generator SplitMix64 seeded with `seed`.

    Args:
        seed: of the run and policy.
        slot: [K].
        counter: [K] how many actions the slot has taken before.
        size: how many numbers one action needs.

    Returns:
        [K, size] odd multiples of 2^-53: never 0 or 1, where the inverse of a cumulative
        distribution may be infinite.

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
    """
    step, offset = _steps(seed, size)
    start = slot.view(np.uint64) * _SLOT_STRIDE + counter.view(np.uint64) * step
    bits = np.add.outer(start, offset)
    _mix(bits)
    # 52 bits, not 53: with 53 the middle of the last interval would round to 1.
    bits >>= _UNUSED_BITS
    uniform: npt.NDArray[np.float64] = bits * 2.0**-52
    uniform += 2.0**-53
    return uniform


@cache
def _steps(seed: int, size: int) -> tuple[np.uint64, UInt64Array]:
    """How far one action advances the generator's state, and the offset of each number, [size]."""
    offset = [(seed + _GAMMA * (d + 1)) % _MODULUS for d in range(size)]
    return np.uint64(_GAMMA * size % _MODULUS), np.array(offset, dtype=np.uint64)


def _mix(bits: UInt64Array) -> None:
    """Scramble each number in place, as the last stage of SplitMix64 does."""
    bits ^= bits >> _SHIFTS[0]
    bits *= _MULTIPLIERS[0]
    bits ^= bits >> _SHIFTS[1]
    bits *= _MULTIPLIERS[1]
    bits ^= bits >> _SHIFTS[2]
