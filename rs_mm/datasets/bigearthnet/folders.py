"""Readers of the two published folder layouts of BigEarthNet and of two databases.

- v1: ``ROOT/PATCH/PATCH_B01.tif … PATCH_B12.tif`` and ``PATCH_labels_metadata.json`` (43 classes).
- v2: ``ROOT/BigEarthNet-S2/TILE/PATCH/PATCH_B01.tif …`` and parquet tables with ``patch_id``,
  ``labels`` (19 classes) and ``split``.

- the LMDB of the original OML code (``legacy.py``), and the LMDB of rico-hdl
  (``safetensors_lmdb.py``).

A source has ``names()``, ``splits()`` and ``read(name)``, which returns the arrays of one record.
Folders also have ``read(name, bands)``, which reads only the GeoTIFFs of these bands.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.limits import check_inside

from ..pictures import read_valid
from . import legacy
from .bands import GROUPS, SIZES
from .labels import check_labels, encode, to_19
from .metadata import Metadata
from .safetensors_lmdb import SafetensorsDatabase, holds_safetensors
from .store import read_transaction


def open_source(
    root: str, layout: str = 'auto', metadata: list[str] | None = None
) -> FolderV1 | FolderV2 | Any:
    """Opens a BigEarthNet folder.

    Args:
        root: the folder.
        layout: ``'v1'``, ``'v2'``, ``'lmdb'`` (of the original OML code), ``'safetensors'`` (an
            LMDB of rico-hdl, as reBEN and ConfigILM use it) or ``'auto'``.
        metadata: parquet tables of v2. Default: ``ROOT/metadata.parquet``,
            which leaves out the patches with snow, cloud or shadow; these are in a separate table.
    """
    folder = Path(root)
    if folder.is_file():
        raise DataError(f'{folder} is a file; name the folder that holds it.')
    if not folder.is_dir():
        raise MissingFileError(f'{folder}: no such folder.')
    tables = [Path(path) for path in metadata or [str(folder / 'metadata.parquet')]]
    if layout == 'auto':
        if (folder / 'data.mdb').is_file():
            layout = 'lmdb'
        else:
            v2 = metadata or tables[0].is_file() or (folder / 'BigEarthNet-S2').is_dir()
            layout = 'v2' if v2 else 'v1'
    if layout == 'safetensors' or (layout == 'lmdb' and holds_safetensors(folder)):
        return SafetensorsDatabase(folder, tables)
    if layout == 'lmdb':
        return OriginalDatabase(folder)
    if layout == 'v2':
        return FolderV2(folder, tables)
    if layout == 'v1':
        return FolderV1(folder)
    raise ConfigError(f'layout {layout!r} is none of auto, v1, v2, lmdb, safetensors.')


ALL_BANDS = sum(GROUPS.values(), ())


def read_bands(
    folder: str | Path, name: str, wanted: Sequence[str] = ALL_BANDS
) -> dict[str, np.ndarray]:
    """Reads the GeoTIFFs of a patch.

    Args:
        folder: the patch's folder.
        name: its name.
        wanted: bands to read; the values of other bands are undefined.

    Returns:
        ``b10`` (4, 120, 120), ``b20`` (6, 60, 60), ``b60`` (2, 20, 20), uint16.

    Raises:
        MissingFileError, DataError: a band is missing, damaged, or of another size or type.
    """
    arrays = {
        group: np.empty((len(bands), SIZES[group], SIZES[group]), np.uint16)
        for group, bands in GROUPS.items()
    }
    for group, bands in GROUPS.items():
        for row, band in enumerate(bands):
            if band in wanted:
                arrays[group][row] = _read_band(f'{folder}/{name}_{band}.tif', SIZES[group])
    return arrays


def _read_band(path, size):
    if not os.path.isfile(path):
        raise MissingFileError(f'missing band {path}')
    band = read_valid(path)
    if band.shape != (size, size, 1) or band.dtype != np.uint16:
        height, width, count = band.shape
        raise DataError(
            f'{path}: {count} x {height} x {width} {band.dtype}, expected one band of '
            f'{size} x {size} uint16'
        )
    return band[..., 0]


class FolderV1:
    """BigEarthNet v1: one folder per patch, with its bands and a labels JSON."""

    layout = 'v1'

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def names(self) -> list[str]:
        with os.scandir(self.root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())

    def splits(self) -> dict[str, list[str]]:
        return {}  # v1 is published without splits; the command line gives lists

    def read(self, name: str, bands: Sequence[str] = ALL_BANDS) -> dict[str, np.ndarray]:
        folder = self.root / check_inside(name, self.root)
        if not folder.is_dir():
            raise MissingFileError(f'no folder {folder}')
        path = folder / f'{name}_labels_metadata.json'
        if not path.is_file():
            raise MissingFileError(f'missing labels {path}')
        try:
            names = json.loads(path.read_text(encoding='utf-8'))['labels']
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f'{path}: cannot be read ({error!r})') from error
        check_labels(names, path)
        label43 = encode(names, 43)
        return dict(label43=label43, label19=to_19(label43)) | read_bands(folder, name, bands)


class FolderV2:
    """BigEarthNet v2: patches in one folder per tile; labels and splits in parquet tables."""

    layout = 'v2'

    def __init__(self, root: Path, tables: list[Path]) -> None:
        self.root = next(
            folder for folder in (Path(root) / 'BigEarthNet-S2', Path(root)) if folder.is_dir()
        )
        self.metadata = Metadata(tables)

    def names(self) -> list[str]:
        return self.metadata.names()

    def splits(self) -> dict[str, list[str]]:
        return self.metadata.splits

    def read(self, name: str, bands: Sequence[str] = ALL_BANDS) -> dict[str, np.ndarray]:
        label = self.metadata.label(name)
        tile = name.rsplit('_', 2)[0]
        folder = self.root / tile / name
        if not folder.is_dir():
            raise MissingFileError(f'no folder {folder}')
        return dict(label19=label) | read_bands(folder, name, bands)


class OriginalDatabase:
    """The LMDB of the original OML code, whose values are Arrow's retired serialisation."""

    layout = 'lmdb'

    def __init__(self, root: Path) -> None:
        self.root = str(root)

    def names(self) -> list[str]:
        transaction = read_transaction(self.root)
        value = transaction.get(b'__keys__')
        if value is not None:
            return sorted(key.decode() for key in legacy.read_value(value)[0])
        keys = transaction.cursor().iternext(keys=True, values=False)
        return sorted(bytes(key).decode() for key in keys if not bytes(key).startswith(b'__'))

    def splits(self) -> dict[str, list[str]]:
        return {}

    def read(self, name: str) -> dict[str, np.ndarray]:
        value = read_transaction(self.root).get(name.encode())
        if value is None:
            raise DataError(f'{self.root} has no patch {name!r}')
        return legacy.read_patch(value)
