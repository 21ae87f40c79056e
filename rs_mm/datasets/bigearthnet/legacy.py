"""A reader of the database values of the original OML code: Arrow's retired serialisation.

A value is four little-endian int32 (numbers of tensors, sparse tensors, arrays, buffers), an Arrow
IPC stream from byte 16 on whose nested unions hold the structure, and then each array as an Arrow
tensor message at the next multiple of 64 bytes. Current Arrow releases can still read these parts;
no object is unpickled.
"""

from __future__ import annotations

import struct

import numpy as np

from rs_mm.errors import DataError

from .labels import to_19

_GROUPS = ('b10', 'b20', 'b60')


def read_value(value: bytes | memoryview) -> tuple[object, list[np.ndarray]]:
    """Splits a value into its structure (lists, ints, bytes) and the arrays it refers to.

    Args:
        value: one database value.

    Raises:
        DataError: the bytes are not such a value.
    """
    import pyarrow as pa

    try:
        count = struct.unpack_from('<4i', value)[2]
        reader = pa.BufferReader(pa.py_buffer(value))
        reader.seek(16)
        table = pa.ipc.open_stream(reader).read_all()
        table.validate(full=True)  # refuses offsets outside the buffers
        structure = table.column(0).to_pylist()[0]
        arrays = []
        for _ in range(count):
            reader.seek(-(-reader.tell() // 64) * 64)
            arrays.append(pa.ipc.read_tensor(reader).to_numpy())
    except (
        pa.ArrowException,
        struct.error,
        IndexError,
        OSError,
        ValueError,
        KeyError,
        OverflowError,
    ) as error:
        raise DataError(f'not a value of the original database: {error}') from error
    return structure, arrays


def read_patch(value: bytes | memoryview) -> dict[str, np.ndarray]:
    """Reads a patch as arrays of a record (see ``records.py``).

    Reflectances are stored as uint16 if this loses nothing (the originals are the GeoTIFFs' uint16
    written as floats), otherwise as float32.

    Args:
        value: value of a patch: 10 m, 20 m and 60 m bands, label vector.

    Raises:
        DataError: the value is not a patch with 43 or 19 labels.
    """
    indices, arrays = read_value(value)
    if not isinstance(indices, list) or len(indices) != 4 or len(arrays) != 4:
        raise DataError('the value does not hold three band groups and a label vector.')
    try:
        *groups, label = (arrays[index] for index in indices)
    except (IndexError, TypeError) as error:
        raise DataError(f'the value refers to arrays that it does not hold: {error}.') from error
    if label.size not in (43, 19):
        raise DataError(f'the label vector has {label.size} entries instead of 43 or 19.')
    label = (label.ravel() == 1).astype(np.uint8)
    labels = dict(label43=label, label19=to_19(label)) if label.size == 43 else dict(label19=label)
    return labels | {name: _as_stored(group) for name, group in zip(_GROUPS, groups)}


def _as_stored(bands):
    whole = bands.clip(0, 65535).astype(np.uint16)
    return whole if np.array_equal(whole, bands) else bands.astype(np.float32)
