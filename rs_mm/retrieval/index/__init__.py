"""Indexes of vectors with metadata: in a folder, on one disk, on a cluster.

``open_index(uri)`` gives an :class:`Index`, whatever stores it.
"""

from __future__ import annotations

import urllib.parse

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


def open_index(
    uri: str, dims: int | None = None, identity: dict[str, str] | None = None, token: str = ''
) -> Index:
    """Opens an index, or makes it where ``dims`` is given.

    Args:
        uri: ``DIR`` or ``exact://DIR``; ``lance://DIR``; ``milvus://FILE.db``;
            ``milvus+http://HOST:19530`` (or ``milvus+https``), possibly with ``?collection=NAME``.
        dims: dimension of the vectors.
        identity: what must have made the vectors; see :class:`Index`.
        token: ``USER:PASSWORD`` or key of a Milvus server.

    Raises:
        ConfigError: for a URI of another kind; see also :class:`Index`.
        MissingFileError: if there is none and ``dims`` is None.
    """
    uri, _, options = str(uri).partition('?')
    settings = dict(urllib.parse.parse_qsl(options))
    kind, separator, place = uri.partition('://')
    if not separator:
        kind, place = 'exact', uri
    if not place:
        raise ConfigError(f'the index "{uri}" names no place; write DIR, lance://DIR or so.')
    if kind == 'exact':
        return ExactIndex(place, dims, identity)
    if kind == 'lance':
        from .lance import LanceIndex

        return LanceIndex(place, dims, identity)
    if kind in ('milvus', 'milvus+http', 'milvus+https'):
        from .milvus import MilvusIndex

        target = place if kind == 'milvus' else f'{kind.removeprefix("milvus+")}://{place}'
        return MilvusIndex(target, dims, identity, settings.get('collection', 'rs_mm'), token)
    raise ConfigError(
        f'the index "{uri}" is of no known kind; write DIR, lance://DIR, milvus://FILE.db or '
        'milvus+http://HOST:19530.'
    )
