"""Damage that knows no format: bits and bytes, blocks, ends."""

from typing import Any

import numpy as np

Rng = np.random.Generator


def chosen(rng: Rng, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def _block(rng: Rng, content: bytes) -> tuple[int, int]:
    """Start and end of a block somewhere."""
    length = min(len(content), int(chosen(rng, (1, 8, 80, 512, 2880))))
    start = int(rng.integers(len(content) - length + 1))
    return start, start + length


def _flipped_bits(rng: Rng, content: bytes) -> bytes:
    damaged = bytearray(content)
    for at in rng.integers(0, len(damaged), rng.integers(1, 9)):
        damaged[at] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def _flipped_bits_at_the_head(rng: Rng, content: bytes) -> bytes:
    head = min(len(content), int(chosen(rng, (128, 1024, 2880, 8192))))
    return _flipped_bits(rng, content[:head]) + content[head:]


def _random_bytes(rng: Rng, content: bytes) -> bytes:
    damaged = bytearray(content)
    for at in rng.integers(0, len(damaged), rng.integers(1, 9)):
        damaged[at] = int(rng.integers(256))
    return bytes(damaged)


def _zeroed_block(rng: Rng, content: bytes) -> bytes:
    start, end = _block(rng, content)
    return content[:start] + bytes(end - start) + content[end:]


def _random_block(rng: Rng, content: bytes) -> bytes:
    start, end = _block(rng, content)
    return content[:start] + rng.bytes(end - start) + content[end:]


def _duplicated_block(rng: Rng, content: bytes) -> bytes:
    start, end = _block(rng, content)
    return content[:end] + content[start:]


def _removed_block(rng: Rng, content: bytes) -> bytes:
    start, end = _block(rng, content)
    return content[:start] + content[end:]


def _byte_order_of_a_block(rng: Rng, content: bytes) -> bytes:
    start, end = _block(rng, content)
    end -= (end - start) % 4
    words = np.frombuffer(content[start:end], "<u4").byteswap()
    return content[:start] + words.tobytes() + content[end:]


def truncated(rng: Rng, content: bytes) -> bytes:
    return content[: rng.integers(len(content))]


def _truncated_at_a_boundary(rng: Rng, content: bytes) -> bytes:
    n = len(content)
    ends = [0, 1, 8, 80, 512, 2048, n // 2, n - 1, n - 8, *range(2880, n, 2880)]
    return content[: max(0, int(chosen(rng, ends)))]


def _junk_appended(rng: Rng, content: bytes) -> bytes:
    junk = chosen(rng, (b"\0", b" ", rng.bytes(1), content[:512]))
    return content + (junk * int(chosen(rng, (1, 512, 2880))))[:5760]


ANYWHERE = (
    _flipped_bits, _flipped_bits_at_the_head, _random_bytes, _zeroed_block, _random_block, _duplicated_block,
    _removed_block, _byte_order_of_a_block, truncated, _truncated_at_a_boundary, _junk_appended,
)  # fmt: skip
