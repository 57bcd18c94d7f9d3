"""Action noise that depends only on who acts and how often it has acted, never on who acts beside.

Every slot owns a stream of numbers; its n-th action reads the n-th stretch of it. So the noise of
an agent is the same whatever the order of arrival, the batch it is served in, or a restart.
"""

import numpy as np
import numpy.typing as npt

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_UNUSED_BITS = np.uint64(12)


def uniform_noise(
    seed: int, slot: npt.NDArray[np.int64], counter: npt.NDArray[np.int64], size: int
) -> npt.NDArray[np.float64]:
    """Numbers uniform in the open interval (0, 1), a pure function of the arguments.

        stream[k] = mix(seed + gamma * slot[k])
        bits[k,d] = mix(stream[k] + gamma * (counter[k] * size + d))        (all modulo 2^64)

    which is SplitMix64 at random access: the slot's output of the generator seeded with `seed`
    seeds the generator whose outputs are the slot's noise.

    Args:
        seed: of the run and policy.
        slot: [K] whose noise it is.
        counter: [K] how many actions the slot has drawn before.
        size: numbers that one action needs.

    Returns:
        [K, size] odd multiples of 2^-53: never 0 or 1, so that no inverse of a cumulative
        distribution is infinite there.

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
    """
    stream = slot.astype(np.uint64)
    stream *= _GAMMA
    stream += np.uint64(seed)
    _mix(stream)
    position = counter.astype(np.uint64)
    position *= np.uint64(size)
    bits: npt.NDArray[np.uint64] = np.add.outer(position, np.arange(size, dtype=np.uint64))
    bits *= _GAMMA
    bits += stream[:, None]
    _mix(bits)
    # 52 bits, not 53: with 53 the middle of the last interval would round to 1.
    bits >>= _UNUSED_BITS
    uniform = bits.astype(np.float64)
    uniform += 0.5
    uniform *= 2.0**-52
    return uniform


def _mix(bits: npt.NDArray[np.uint64]) -> None:
    """Scramble each number in place, one to one: the finaliser of SplitMix64."""
    bits ^= bits >> _SHIFTS[0]
    bits *= _MULTIPLIERS[0]
    bits ^= bits >> _SHIFTS[1]
    bits *= _MULTIPLIERS[1]
    bits ^= bits >> _SHIFTS[2]
