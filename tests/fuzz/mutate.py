"""Damages bytes as disks, transfers and strangers do."""

from __future__ import annotations

import random
import zlib

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutate(content: bytes, other: bytes, draw: random.Random) -> bytes:
    """One to four damages of ``content``; some take bytes of ``other``."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        draw.choice(_DAMAGES)(data, other, draw)
    return bytes(data)


def mend_png(content: bytes) -> bytes:
    """A PNG with the checksums that its chunks should have, so that their content is read."""
    if not content.startswith(b'\x89PNG\r\n\x1a\n'):
        return content
    data, place = bytearray(content), 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], 'big')
        end = place + 8 + length
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4, 'big')
        place = end + 4
    return bytes(data)


def _place(data, draw):
    # heads and tails of files decide the most
    near = draw.randrange(min(len(data), 64) or 1)
    return draw.choice((near, max(0, len(data) - 1 - near), draw.randrange(len(data) or 1)))


def _flip_bit(data, other, draw):
    if data:
        data[_place(data, draw)] ^= 1 << draw.randrange(8)


def _set_byte(data, other, draw):
    if data:
        data[_place(data, draw)] = draw.randrange(256)


def _set_number(data, other, draw):
    size, order = draw.choice((1, 2, 4, 8)), draw.choice(('little', 'big'))
    number = draw.choice(_NUMBERS) & ((1 << 8 * size) - 1)
    at = _place(data, draw)
    data[at : at + size] = number.to_bytes(size, order)


def _cut(data, other, draw):
    del data[_place(data, draw) :]


def _remove(data, other, draw):
    at = _place(data, draw)
    del data[at : at + draw.choice((1, 2, 4, 64, 512))]


def _repeat(data, other, draw):
    at, size = _place(data, draw), draw.choice((1, 4, 64, 512))
    data[at:at] = data[at : at + size] * draw.choice((1, 1, 3, 20))


def _insert(data, other, draw):
    at = _place(data, draw)
    data[at:at] = draw.randbytes(draw.choice((1, 2, 4, 32)))


def _zeros(data, other, draw):
    at, size = _place(data, draw), draw.choice((4, 64, 512, 4096))
    data[at : at + size] = bytes(min(size, max(0, len(data) - at)))


def _splice(data, other, draw):
    if other:
        at, start = _place(data, draw), _place(other, draw)
        size = draw.choice((4, 64, 512))
        data[at : at + size] = other[start : start + size]


_DAMAGES = (
    _flip_bit,
    _flip_bit,
    _set_byte,
    _set_number,
    _set_number,
    _cut,
    _remove,
    _repeat,
    _insert,
    _zeros,
    _splice,
)
