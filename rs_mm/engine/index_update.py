"""Updating an index after changes of an archive; the model only computes new content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import MMLogger

from rs_mm.datasets.archive_metadata import file_metadata, known_of
from rs_mm.errors import DataError, MissingFileError
from rs_mm.retrieval.index import Index, Record, open_index
from rs_mm.unwrap import unwrap

from .feature_extraction import encode_batches, identity_of


@dataclass
class Update:
    """The changes of :func:`update_index`.

    Attributes:
        added: records with content that the model computed.
        moved: records with known content, whose name or time of change is new.
        removed: records of deleted files.
        kept: unchanged records.
        unreadable: name of each unreadable file with the reason.
    """

    added: int = 0
    moved: int = 0
    removed: int = 0
    kept: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)

    def __str__(self):
        return (
            f'{self.added} new, {self.moved} moved, {self.removed} removed, {self.kept} unchanged, '
            f'{len(self.unreadable)} unreadable'
        )


def content_digest(path: str | Path) -> str:
    """Returns a hash of a file's content; empty if the file cannot be read."""
    digest = hashlib.blake2b(digest_size=20)
    try:
        with open(path, 'rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return ''
    return digest.hexdigest()


def update_index(
    uri: str,
    model: Any,
    loader: Any,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
    token: str = '',
    shard_size: int = 2048,
) -> tuple[Index, Update]:
    """Adds new files of an archive to its index, and removes deleted files.

    A file is identified by name, size and time of change, and otherwise by the hash of its content;
    so a file that was moved, copied or touched is not computed again. Finished files are in the
    index, so an interrupted run continues where it ended. Several processes may update an index at
    once.

    Args:
        uri: see :func:`~rs_mm.retrieval.index.open_index`; made if there is none.
        model: see :func:`~rs_mm.engine.feature_extraction.extract_features`.
        loader: see :func:`~rs_mm.engine.feature_extraction.extract_features`.
        metadata: metadata of images by name or base name; see
            :func:`~rs_mm.datasets.archive_metadata.read_metadata_table`.
        token: token of a server.
        shard_size: images that are added together.

    Returns: The index and its changes.

    Raises:
        ConfigError: another model built the index.
        DataError: no image can be read, or the features of an image are NaN or infinite.
    """
    dataset, model = loader.dataset, unwrap(model)
    identity = identity_of(model, dataset.pipeline)
    try:
        index = open_index(uri, None, identity, token)
    except MissingFileError:
        index = None  # the first features give its dimension
    wanted = _records(dataset)
    known = index.files() if index is not None else {}
    done = Update()
    same, rest = [], []
    for record in wanted:
        state = known.get(record.name)
        unchanged = state is not None and (state.size, state.changed) == (
            record.size,
            record.changed,
        )
        (same if unchanged and record.key in state.keys else rest).append(record)
    done.kept = len(same)
    if index is not None:
        if metadata:
            _refresh(index, same, metadata)
        rest = _reuse(index, known, rest, metadata, done)
    places = {record.key: i for i, record in enumerate(wanted)}
    if rest:
        index = _encode(index, uri, identity, token, model, loader, wanted, places, rest, metadata,
                        shard_size, done)  # fmt: skip
    if index is None:
        reason = next(iter(done.unreadable.values()), '')
        raise DataError(
            f'none of the {len(wanted)} images in {dataset.data_root} can be read'
            f'{": " + reason if reason else ""}.'
        )
    there = {record.key for record in wanted if record.name not in done.unreadable}
    gone = [key for state in known.values() for key in state.keys if key not in there]
    index.remove(gone)
    done.removed = len(gone)
    if rest or gone:
        index.compact()
    _report(uri, index, done)
    return index, done


def _records(dataset):
    """Makes a record for every sample, without data from inside the file."""
    records = []
    for i, (name, size, changed) in enumerate(dataset.files()):
        info = dataset.get_data_info(i)
        x, y, width, height = info.get('window') or (0, 0, 0, 0)
        path = str(info['img_path'])
        records.append(Record(name, path, x, y, width, height, size=size, changed=changed))
    return records


def _described(record, metadata):
    """Adds the metadata of file and table to the record."""
    known = file_metadata(record.path, record.window)
    return replace(record, **{**known, **known_of(metadata, record.name)})


def _refresh(index, records, metadata):
    """Rewrites records whose row in the table has changed."""
    for start in range(0, len(records), 1024):
        keys = [record.key for record in records[start : start + 1024]]
        changed = []
        for old in index.records(keys):
            new = replace(old, **known_of(metadata, old.name))
            if new != old:
                changed.append(new)
        if changed:
            index.add(changed, index.fetch([record.key for record in changed]))


def _reuse(index, known, records, metadata, done):
    """Uses vectors of known content; returns the other records, with digests."""
    by_content = {}
    for state in known.values():
        if state.digest:
            for key in state.keys:
                by_content[state.digest, key.rpartition('#')[2] if '#' in key else ''] = key
    digests, moved, rest = {}, [], []
    for record in records:
        if record.path not in digests:
            digests[record.path] = content_digest(record.path)
        record = replace(record, digest=digests[record.path])
        window = record.key.rpartition('#')[2] if record.window else ''
        old = by_content.get((record.digest, window)) if record.digest else None
        if old is None:
            rest.append(record)
        else:
            moved.append((record, old))
    for start in range(0, len(moved), 1024):
        part = moved[start : start + 1024]
        index.add(
            [_described(record, metadata) for record, _ in part],
            index.fetch([old for _, old in part]),
        )
    done.moved = len(moved)
    return rest


def _encode(
    index, uri, identity, token, model, loader, wanted, places, rest, metadata, shard_size, done
):
    """Embeds the records of ``rest`` and adds them, shard by shard."""
    todo = {places[record.key]: record for record in rest}
    holder = [index]

    def store(numbers, features, unreadable):
        for number, reason in unreadable.items():
            done.unreadable[wanted[number].name] = reason
        if not len(numbers):
            return
        records = []
        for number in numbers:
            record = todo[number]
            if not record.digest:
                record = replace(record, digest=content_digest(record.path))
            records.append(_described(record, metadata))
        if holder[0] is None:
            holder[0] = open_index(uri, features.shape[1], identity, token)
        holder[0].add(records, features)
        done.added += len(records)

    order = np.array(sorted(todo), np.int64)
    size = loader.batch_size
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    encode_batches(
        model,
        loader,
        wanted,
        batches,
        max(1, shard_size // size),
        True,
        MMLogger.get_current_instance(),
        store,
    )
    return holder[0]


def _report(uri, index, done):
    logger = MMLogger.get_current_instance()
    logger.info(f'{uri}: {len(index)} records; {done}')
    if done.unreadable:
        shown = ''.join(f'\n  {reason}' for reason in list(done.unreadable.values())[:20])
        more = '\n  …' if len(done.unreadable) > 20 else ''
        logger.warning(
            f'{len(done.unreadable)} images cannot be read and are skipped:{shown}{more}'
        )
