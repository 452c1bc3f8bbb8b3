"""ganc's random numbers in numpy: a second, independent writing of what kernels_cl/random.cl defines.

Uniforms, integers and permutations have ganc's bits. Normals are the same formula by numpy in float64,
rounded once; they differ from ganc's in the last bit or two, little beside the rounding of a training run.
"""
import numpy as np


def stream_number(name):
    """The FNV-1a hash of a stream's name, 32 bits."""
    number = 2166136261
    for byte in name.encode():
        number = (number ^ byte) * 16777619 % 2**32
    return number


def words(seed, stream, step, count):
    """The first `count` 32-bit words of a stream at a step: Philox4x32-10 of (block, step, stream, 0)."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    c = [blocks] + [np.full_like(blocks, value) for value in (step, stream_number(stream), 0)]
    key = [seed % 2**32, seed >> 32]
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> shift) ^ c[1] ^ np.uint64(key[0]), b & low,
             (a >> shift) ^ c[3] ^ np.uint64(key[1]), a & low]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return np.stack(c, axis=1).reshape(-1)[:count]


def uniform(seed, stream, step, shape):
    """float32 in [0, 1)."""
    w = words(seed, stream, step, int(np.prod(shape)))
    return ((w >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)


def normal(seed, stream, step, shape):
    """float32, mean 0, variance 1: each pair of words makes two, by Box and Muller."""
    count = int(np.prod(shape))
    pairs = (words(seed, stream, step, count + count % 2) >> np.uint64(8)).astype(np.float64).reshape(-1, 2)
    radius = np.sqrt(-2 * np.log((pairs[:, 0] + 1) * 2.0**-24))
    angle = 2 * np.pi * pairs[:, 1] * 2.0**-24
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
    return both[:count].astype(np.float32).reshape(shape)


def below(seed, stream, step, shape, bound):
    """int64 in [0, bound)."""
    w = words(seed, stream, step, int(np.prod(shape)))
    return ((w * np.uint64(bound)) >> np.uint64(32)).astype(np.int64).reshape(shape)


def permutation(seed, stream, step, count):
    """The numbers 0 .. count - 1 in a random order: Fisher and Yates, from the last position down."""
    order = np.arange(count)
    for i, word in zip(range(count - 1, 0, -1), words(seed, stream, step, max(count - 1, 0))):
        j = int(word) * (i + 1) >> 32
        order[i], order[j] = order[j], order[i]
    return order
