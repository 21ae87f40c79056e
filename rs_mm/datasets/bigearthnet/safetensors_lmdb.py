"""A reader of the LMDB that rico-hdl writes and that reBEN and ConfigILM use.

A key is a patch name, its value a safetensors file in memory: an array for each band, by name.
The LMDB has no labels and splits; they are in the parquet tables of BigEarthNet v2.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from rs_mm.errors import DataError, MissingFileError

from .bands import GROUPS, SIZES
from .metadata import Metadata
from .store import read_transaction


def holds_safetensors(root: str | Path) -> bool:
    """Returns whether the first value of an LMDB is a safetensors file."""
    cursor = read_transaction(root).cursor()
    return cursor.first() and is_safetensors(bytes(cursor.value()[:16]))


def is_safetensors(start: bytes) -> bool:
    """Returns whether bytes begin like a safetensors file: with the length of a header and the
    header."""
    if len(start) < 10:
        return False
    (length,) = struct.unpack_from('<Q', start)
    return 2 <= length < 100_000_000 and start[8:9] == b'{'


class SafetensorsDatabase:
    """Patches of an LMDB of rico-hdl, with the labels of BigEarthNet v2's tables.

    Args:
        root: folder of the LMDB.
        tables: parquet tables with the labels of its patches.

    Raises:
        MissingFileError: the LMDB or a table does not exist.
        DataError: the LMDB holds none of the patches of the tables.
    """

    layout = 'safetensors'

    def __init__(self, root: Path, tables: list[Path]) -> None:
        self.root = str(root)
        lacking = next((path for path in tables if not Path(path).is_file()), None)
        if lacking is not None:
            raise MissingFileError(
                f'{root} is an LMDB of rico-hdl (safetensors, as reBEN and ConfigILM use it), '
                f'which has no labels, and there is no {lacking}: name the metadata.parquet of '
                'BigEarthNet v2 with --metadata.'
            )
        self.metadata = Metadata(tables)
        names = self.metadata.names()
        transaction = read_transaction(root)
        if names and not any(transaction.get(name.encode()) for name in names):
            raise DataError(
                f'{root} holds none of the {len(names)} patches of {", ".join(map(str, tables))}, '
                f'e.g. {names[0]}.'
            )

    def names(self) -> list[str]:
        return self.metadata.names()

    def splits(self) -> dict[str, list[str]]:
        return self.metadata.splits

    def read(self, name: str) -> dict[str, np.ndarray]:
        """Returns the arrays of a record.

        Raises:
            DataError: the patch or a band is missing, or a band has another size or type.
        """
        label = self.metadata.label(name)
        value = read_transaction(self.root).get(name.encode())
        if value is None:
            raise DataError(f'{self.root} holds no patch {name!r}')
        bands = _bands(value)
        lacking = [band for group in GROUPS.values() for band in group if band not in bands]
        if lacking:
            raise DataError(f'it has no band {", ".join(lacking)}')
        groups = {
            group: np.stack([_checked(bands[band], band, SIZES[group]) for band in names])
            for group, names in GROUPS.items()
        }
        return dict(label19=label) | groups


def _bands(value):
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(bytes(value))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(f'not a safetensors value ({error})') from error


def _checked(array, band, size):
    array = array.squeeze()
    if array.shape != (size, size) or array.dtype != np.uint16:
        raise DataError(
            f'band {band}: {" x ".join(map(str, array.shape))} {array.dtype}, expected '
            f'{size} x {size} uint16'
        )
    return array
