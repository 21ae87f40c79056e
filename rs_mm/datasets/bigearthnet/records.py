"""The binary record of one patch: a header and raw arrays, readable without copying.

All numbers are little-endian. A record is

========  ======  =============================================================
offset    bytes   content
========  ======  =============================================================
0         4       magic ``RSMP``
4         2       layout version (uint16), now 1
6         2       number of arrays n (uint16)
8         4       length of the whole record in bytes (uint32)
12        4       CRC-32 (zlib) of everything from byte 16 on (uint32)
16        32 n    one entry per array: name (8 bytes ASCII, zero padded), numpy
                  type string (4 bytes ASCII, zero padded, e.g. ``<u2``), offset
                  from the start of the record (uint32), number of dimensions
                  (uint32), shape (3 x uint32, unused ones 0)
...               the arrays, C order, each at a multiple of 16 bytes
========  ======  =============================================================

Arrays of a BigEarthNet patch: ``label43`` (43,), absent for v2, ``label19`` (19,), both uint8;
``b10`` (4, 120, 120), ``b20`` (6, 60, 60), ``b60`` (2, 20, 20), uint16 as in the GeoTIFFs. Labels
come first, so reading only the labels touches one page of the file. Band order: see ``bands.py``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np

from rs_mm.errors import DataError

MAGIC, VERSION = b'RSMP', 1
_HEADER, _ENTRY = struct.Struct('<4sHHII'), struct.Struct('<8s4sII3I')
_ALIGN = 16
# only number types: numpy parses a type string, and other types would make objects of foreign bytes
_TYPES = {
    np.dtype(name).str.encode().ljust(4, b'\0'): np.dtype(name)
    for name in ('|b1', '|u1', '|i1', *(f'<{kind}{n}' for kind in 'uif' for n in (2, 4, 8)))
}


def pack_record(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Serialises named arrays of at most three dimensions, in the order given."""
    offset = _HEADER.size + _ENTRY.size * len(arrays)
    entries, body = [], []
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        array = array.astype(array.dtype.newbyteorder('<'), copy=False)
        padding = -offset % _ALIGN
        offset += padding
        shape = array.shape + (0,) * (3 - array.ndim)
        entries.append(
            _ENTRY.pack(name.encode(), array.dtype.str.encode(), offset, array.ndim, *shape)
        )
        body.append(b'\0' * padding + array.tobytes())
        offset += array.nbytes
    content = b''.join(entries + body)
    return _HEADER.pack(MAGIC, VERSION, len(arrays), offset, zlib.crc32(content)) + content


def stated_checksum(record: bytes) -> int:
    """Returns the CRC-32 in the header of a record."""
    return _HEADER.unpack_from(record)[4]


def unpack_record(
    record: bytes | memoryview, name: str = 'record', check: bool = False
) -> dict[str, np.ndarray]:
    """Returns views of the arrays of a record, without a copy; they are valid as long as
    ``record``.

    Args:
        record: a packed record.
        name: name of the record in an error.
        check: also compute the checksum. Default: False.

    Returns:
        Name -> read-only array.

    Raises:
        DataError: the bytes are not a record, or its layout version, its length or (with ``check``)
            its checksum is wrong.
    """
    if len(record) < _HEADER.size or bytes(record[:4]) != MAGIC:
        raise DataError(f'{name}: not a patch record of rs_mm; convert the data again.')
    _, version, count, length, checksum = _HEADER.unpack_from(record)
    if version != VERSION:
        raise DataError(
            f'{name}: written with layout version {version}, this rs_mm reads version '
            f'{VERSION}; convert the data again.'
        )
    if length != len(record):
        raise DataError(
            f'{name}: {len(record)} bytes long, its header says {length}; the record '
            'is damaged, convert the data again.'
        )
    if check and zlib.crc32(record[_HEADER.size :]) != checksum:
        raise DataError(
            f'{name}: the checksum does not match; the record is damaged, convert the data again.'
        )
    try:
        return dict(_view(record, index) for index in range(count))
    except (TypeError, ValueError, struct.error) as error:
        raise DataError(
            f'{name}: its list of arrays is damaged ({error}); convert the data again.'
        ) from error


def _view(record, index):
    key, dtype, offset, ndim, *shape = _ENTRY.unpack_from(
        record, _HEADER.size + index * _ENTRY.size
    )
    if dtype not in _TYPES or ndim > 3:
        raise ValueError(f'array {index} has {ndim} dimensions of type {dtype!r}')
    array: np.ndarray = np.ndarray(tuple(shape[:ndim]), _TYPES[dtype], record, offset)
    array.flags.writeable = False  # read-only, also if the record itself could be written
    return key.rstrip(b'\0').decode(), array
