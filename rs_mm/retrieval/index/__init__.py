"""Indexes of vectors with metadata: in a folder, on one disk, on a cluster.

``open_index(uri)`` returns an :class:`Index` for each of them.
"""

from __future__ import annotations

import os
import urllib.parse
from typing import Any

from rs_mm.errors import ConfigError

from .base import FileState, Hits, Index
from .exact import ExactIndex
from .filters import Condition, make_filter
from .fused import Answer, Query, check_recall, search_fused
from .moments import Moments
from .record import NOWHERE, Record

__all__ = [
    'Answer',
    'Condition',
    'ExactIndex',
    'FileState',
    'Hits',
    'Index',
    'Moments',
    'NOWHERE',
    'Query',
    'Record',
    'check_recall',
    'make_filter',
    'open_index',
    'search_fused',
]


#: what may follow the place, as ``?NAME=VALUE``
_OPTIONS = {'exact': ('memory',), 'lance': ('memory',), 'milvus': ('collection', 'timeout')}


def open_index(
    uri: str, dims: int | None = None, identity: dict[str, str] | None = None, token: str = ''
) -> Index:
    """Opens an index, or creates it if ``dims`` is given.

    Args:
        uri: ``DIR`` or ``exact://DIR``; ``lance://DIR``; ``milvus://FILE.db`` or
            ``milvus+http://HOST:19530`` (or ``milvus+https``). The first two take
            ``?memory=MIB``, what they may keep in memory between searches; the others
            ``?collection=NAME`` and ``&timeout=SECONDS``, how long an answer may take.
        dims: dimension of the vectors.
        identity: identity of the model of the vectors; see :class:`Index`.
        token: ``USER:PASSWORD`` or key of a Milvus server. Default: the environment variable
            ``RS_MM_MILVUS_TOKEN``, because other users can read command lines.

    Raises:
        ConfigError: the URI has an unknown kind; see also :class:`Index`.
        MissingFileError: the index does not exist and ``dims`` is None.
    """
    place, _, options = str(uri).partition('?')
    kind, separator, rest = place.partition('://')
    kind, place = (kind, rest) if separator else ('exact', place)
    if not place:
        raise ConfigError(f'the index "{uri}" has no path; write for example DIR or lance://DIR.')
    settings = _settings(uri, options, kind)
    if kind == 'exact':
        return ExactIndex(place, dims, identity, **settings)
    if kind == 'lance':
        from .lance import LanceIndex

        return LanceIndex(place, dims, identity, **settings)
    if kind in ('milvus', 'milvus+http', 'milvus+https'):
        from .milvus import MilvusIndex

        target = place if kind == 'milvus' else f'{kind.removeprefix("milvus+")}://{place}'
        token = token or os.environ.get('RS_MM_MILVUS_TOKEN', '')
        return MilvusIndex(target, dims, identity, token=token, **settings)
    raise ConfigError(
        f'the index "{uri}" has an unknown kind; write DIR, lance://DIR, milvus://FILE.db or '
        'milvus+http://HOST:19530.'
    )


def _settings(uri, options, kind):
    """What follows the question mark, as arguments of the index."""
    given = dict(urllib.parse.parse_qsl(options, keep_blank_values=True))
    known = _OPTIONS.get(kind.partition('+')[0], ())
    other = next((name for name in given if name not in known), None)
    if other is not None:
        raise ConfigError(
            f'the index "{uri}" has no option "{other}"'
            + (f'; it has {" and ".join(known)}.' if known else '.')
        )
    settings: dict[str, Any] = {}
    for name, value in given.items():
        settings[name] = value if name == 'collection' else _above_zero(uri, name, value)
    return settings


def _above_zero(uri, name, text):
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < 1e9:
        raise ConfigError(f'the index "{uri}": {name} is a number above 0, not "{text}".')
    return value
