"""Reading numpy files of others: plain arrays, or an error that names the file."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from rs_mm.errors import DataError
from rs_mm.limits import check_expansion

# the errors of numpy and zipfile for damaged bytes; numpy reads an array's header as Python text
DAMAGED = (
    AttributeError,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def load_array(path: str | Path, mmap_mode: Literal['r', 'c'] | None = None) -> np.ndarray:
    """Reads the array of a ``.npy`` file; nothing is unpickled.

    Args:
        path: the file.
        mmap_mode: see ``numpy.load``.

    Raises:
        FileNotFoundError: the file does not exist.
        DataError: the file is damaged or holds objects.
    """
    try:
        array = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except FileNotFoundError:
        raise
    except DAMAGED as error:
        raise DataError(f'{path} is not a readable array: {_reason(error)}.') from error
    if not isinstance(array, np.ndarray):
        raise DataError(f'{path} is not a single array.')
    return array


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a ``.npz`` file by name; nothing is unpickled.

    Raises:
        FileNotFoundError: the file does not exist.
        DataError: the file is damaged, holds objects, or unpacks to much more than its size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            whole = sum(part.file_size for part in archive.infolist())
        check_expansion(whole, Path(path).stat().st_size, path)
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError('a part of it is no array')
        return arrays
    except (FileNotFoundError, DataError):
        raise
    except DAMAGED as error:
        raise DataError(f'{path} holds no readable arrays: {_reason(error)}.') from error


def _reason(error):
    text = ' '.join(str(error).split()).rstrip('.')
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
