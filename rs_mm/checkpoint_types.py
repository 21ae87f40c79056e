"""Substitutes for types of numpy and mmengine while a checkpoint loads.

mmengine keeps numbers of its log as numpy arrays, so its checkpoints name parts of numpy. The real
types must never be used with a file of others: ``numpy.ndarray`` builds an array of objects over
any bytes, and ``numpy.dtype`` takes its inner state from the file, and with both, a file could
choose addresses that the process then reads. Each class and function here does only what plain
numbers need, and refuses everything else.
"""

from __future__ import annotations

import argparse
import math
import re
from pickle import UnpicklingError
from typing import Any

import numpy as np

# booleans, integers, floating point and complex numbers by their size: no objects, no structures
_NUMBERS = re.compile(r'[<>=|]?[biufc]\d{1,2}')
_PLAIN_STATE = (None, None, None, -1, -1, 0)


class NumberType:
    """A substitute for ``numpy.dtype``: the type of plain numbers; only its byte order can be
    set."""

    def __new__(cls, name, align=False, copy=False):
        name = name.decode('ascii') if isinstance(name, bytes) else name
        if not isinstance(name, str) or not _NUMBERS.fullmatch(name):
            raise UnpicklingError(
                f'the checkpoint asks for the numpy type {name!r}, not one of numbers'
            )
        kind = super().__new__(cls)
        kind.dtype = np.dtype(name)
        return kind

    def __setstate__(self, state):
        version, order, *rest = state
        order = order.decode('ascii') if isinstance(order, bytes) else order
        if version != 3 or order not in ('<', '>', '|', '=') or tuple(rest) != _PLAIN_STATE:
            raise UnpicklingError(f'the checkpoint sets the state {state!r} of a numpy type')
        self.dtype = self.dtype.newbyteorder(order)

    def __reduce__(self):
        return self.dtype.__reduce__()


class NumberArray(np.ndarray):
    """A substitute for ``numpy.ndarray``: an array that takes only numbers from a file."""

    __array_priority__ = -1.0  # a plain array after concatenation

    def __new__(cls):
        return np.ndarray.__new__(cls, 0, np.uint8)

    def __setstate__(self, state):
        _, shape, kind, fortran, content = state
        array = _numbers(kind, content, shape, 'F' if fortran else 'C')
        super().__setstate__(array.__reduce__()[2])

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return array[()] if return_scalar else np.asarray(array)  # results are plain arrays too

    def __reduce__(self):
        return np.asarray(self).__reduce__()


def reconstruct(kind: Any, shape: Any, code: Any) -> NumberArray:
    """A substitute for numpy's ``_reconstruct``: returns an empty array, which its state fills."""
    if kind not in (NumberArray, np.ndarray):
        raise UnpicklingError(f'the checkpoint asks for an array of the kind {kind!r}')
    return NumberArray()


def scalar(kind: Any, content: bytes) -> Any:
    """A substitute for numpy's ``scalar``: returns one number."""
    return _numbers(kind, content, (), 'C')[()]


def _numbers(kind, content, shape, order):
    if not isinstance(kind, NumberType) or not isinstance(content, bytes):
        raise UnpicklingError('the checkpoint holds an array that is not of numbers')
    shape = tuple(shape)
    if not all(isinstance(size, int) and 0 <= size < 1 << 40 for size in shape):
        raise UnpicklingError(f'the checkpoint holds an array of shape {shape!r}')
    if math.prod(shape) * kind.dtype.itemsize != len(content):
        raise UnpicklingError(f'the checkpoint holds {len(content)} bytes for an array {shape!r}')
    # a copy, because arrays of numpy's pickles are writable
    return np.frombuffer(bytearray(content), kind.dtype).reshape(shape, order=order)


def history_statistic(owner: Any, name: str) -> Any:
    """A substitute for ``getattr``: returns one of HistoryBuffer's statistics."""
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise UnpicklingError(
            f'the checkpoint asks for the attribute {name!r} of {owner!r}, which a '
            'file of weights has no use for; it was not loaded.'
        )
    return getattr(owner, name)


def no_bytes() -> bytes:
    """A substitute for ``bytes``, which pickle calls without arguments for an empty array."""
    return b''


def safe_globals() -> list:
    """Returns the argument of ``torch.serialization.add_safe_globals``: names in a file and their
    meaning."""
    from mmengine.logging.history_buffer import HistoryBuffer

    named = {
        'builtins.bytes': no_bytes,
        'builtins.getattr': history_statistic,
        'numpy.ndarray': NumberArray,
        'numpy.dtype': NumberType,
    }
    for module in ('numpy._core', 'numpy.core'):  # numpy >= 2, and earlier
        named[f'{module}.multiarray._reconstruct'] = reconstruct
        named[f'{module}.multiarray.scalar'] = scalar
    # argparse.Namespace is plain data: timm's training script stores its arguments
    return [HistoryBuffer, argparse.Namespace, *((what, name) for name, what in named.items())]
