"""Building an index without a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rs_mm.apis.features.extraction import load_features
from rs_mm.datasets.archive_metadata import known_of, read_metadata_table
from rs_mm.datasets.scene_archive import AUTO
from rs_mm.errors import ConfigError
from rs_mm.retrieval.cache import FeatureCache
from rs_mm.retrieval.index import Index, Record, open_index

from .engine import ImageSearch

_BLOCK = 8192


def build_index(
    uri: str,
    archive: str | Path | None = None,
    features: str | Path | None = None,
    metadata: str | Path | None = None,
    config: str | Path | None = None,
    weights: str | Path | None = None,
    bands: Sequence[int] | None = None,
    device: str | None = None,
    options: dict | list[str] | None = None,
    tile: str | float | None = AUTO,
    stride: str | float | None = None,
) -> Index:
    """Builds or updates an index of a folder or of extracted features.

    Args:
        uri: see :func:`~rs_mm.retrieval.index.open_index`.
        archive: a folder of images; the other arguments are then those of :class:`ImageSearch`.
        features: instead, a folder of ``tools/retrieval/extract.py``; no model is needed.
        metadata: CSV with metadata of the images.
        config: see :class:`ImageSearch`.
        weights: see :class:`ImageSearch`.
        bands: see :class:`ImageSearch`.
        device: see :class:`ImageSearch`.
        options: see :class:`ImageSearch`.
        tile: see :class:`ImageSearch`.
        stride: see :class:`ImageSearch`.

    Raises:
        ConfigError: not exactly one of ``archive`` and ``features`` is given, or the index has
            another model.
    """
    if (archive is None) == (features is None):
        raise ConfigError('give a folder of images (--archive) or of features (--features).')
    if archive is not None:
        return ImageSearch(
            archive,
            config,
            weights,
            bands=bands,
            device=device,
            options=options,
            index=uri,
            metadata=metadata,
            tile=tile,
            stride=stride,
        ).index
    table = {} if metadata is None else read_metadata_table(metadata)
    stored = load_features(features)
    index = open_index(uri, stored.features.shape[1], FeatureCache(features).made_by)
    known = index.files()
    for start in range(0, len(stored.names), _BLOCK):
        stop = start + _BLOCK
        records = [
            replace(Record(name, path), **known_of(table, name))
            for name, path in zip(stored.names[start:stop], stored.paths[start:stop])
        ]
        index.add(records, stored.features[start:stop].numpy())
    names = set(stored.names)
    index.remove([key for name, state in known.items() if name not in names for key in state.keys])
    index.compact()
    return index
