"""Action noise that depends only on who acts and how often it has acted, never on who acts beside.

Every slot owns a stream of numbers; its n-th action reads the n-th stretch of it. So the noise of
an agent is the same whatever the order of arrival, the batch it is served in, or a restart.
"""

import numpy as np
import numpy.typing as npt

_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def uniform_noise(
    seed: int, slot: npt.NDArray[np.int64], counter: npt.NDArray[np.int64], size: int
) -> npt.NDArray[np.float64]:
    """Numbers uniform in the open interval (0, 1), a pure function of the arguments.

        stream[k] = mix(slot[k] + mix(seed))
        u[k, d]   = mix(stream[k] + (counter[k] * size + d) * golden gamma)

    where mix is the finaliser of SplitMix64: each slot reads that generator from a random place.
    All arithmetic is modulo 2^64.

    Args:
        seed: of the run and policy.
        slot: [K] whose noise it is.
        counter: [K] how many actions the slot has drawn before.
        size: numbers that one action needs.

    Returns:
        [K, size] multiples of 2^-53 in (0, 1): 0 and 1 never occur, so that no inverse of a
        cumulative distribution is infinite.

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
    """
    stream = slot.astype(np.uint64)
    stream += np.uint64(_mix_int(seed & _MASK))
    _mix(stream)
    position: npt.NDArray[np.uint64] = counter.astype(np.uint64)
    position *= np.uint64(size)
    dimension = np.arange(1, size + 1, dtype=np.uint64)
    bits: npt.NDArray[np.uint64] = np.add.outer(position, dimension)
    bits *= np.uint64(_GOLDEN_GAMMA)
    bits += stream[:, None]
    _mix(bits)
    # 52 bits, not 53: with 53 the middle of the last interval would round to 1.
    bits >>= np.uint64(12)
    uniform = bits.astype(np.float64)
    uniform += 0.5
    uniform *= 2.0**-52
    return uniform


def _mix(bits: npt.NDArray[np.uint64]) -> None:
    """Scramble each number in place, one to one."""
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(_MULTIPLIERS[0])
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(_MULTIPLIERS[1])
    bits ^= bits >> np.uint64(31)


def _mix_int(bits: int) -> int:
    """`_mix` of one Python integer."""
    bits = (bits ^ bits >> 30) * _MULTIPLIERS[0] & _MASK
    bits = (bits ^ bits >> 27) * _MULTIPLIERS[1] & _MASK
    return bits ^ bits >> 31
