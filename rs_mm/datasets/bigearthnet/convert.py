"""A resumable conversion of BigEarthNet to an LMDB that faulty patches do not stop."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from rs_mm.errors import DataError, RSMMError
from rs_mm.files import atomic_write

from ..label_tables import check_unique
from .bands import GROUPS, SIZES
from .labels import NOMENCLATURES
from .records import VERSION, pack_record
from .store import FORMAT, PatchReader, PatchWriter, close_reader

Problem = tuple[str, str]

_PATCHES_PER_CALL = 16

# the source of a worker process, set once when the process starts
_STATE = {}


def convert(
    source: Any,
    out: str,
    splits: Mapping[str, Sequence[str]] | None = None,
    exclude: Iterable[str] = (),
    workers: int = 4,
    batch_size: int = 256,
    verify: bool = False,
) -> dict:
    """Writes every patch of a source into an LMDB, and continues a run that was killed.

    A patch that cannot be read (missing or truncated band, unknown label, …) is left out and listed
    in the manifest; the next run tries it again.

    Args:
        source: result of :func:`rs_mm.datasets.bigearthnet.folders.open_source`.
        out: folder to write: ``data.mdb``, ``manifest.json`` and ``splits/*.csv``.
        splits: patch names by split. Default: the splits of the source, or all patches if it has
            none.
        exclude: names to leave out (seasonal snow, cloud, shadow); patches that an earlier run has
            written are deleted.
        workers: number of reading processes; 0 reads in this process.
        batch_size: patches per transaction; a kill loses at most one transaction.
        verify: finally compare every record with its source, byte for byte.

    Returns:
        The manifest. Its ``problems`` are pairs of patch name and reason.

    Raises:
        DataError: there is no patch, or a split lists a patch twice.
    """
    listed, excluded = splits or source.splits(), set(exclude)
    for split, names in listed.items():
        check_unique(names, f'the list {split}')
    if splits:
        _check_lists(splits, source)
    names = sorted({name for split in listed.values() for name in split} or source.names())
    if not names:
        raise DataError(
            f'{source.root}: no patch there to convert; give the folder that holds the '
            'patch folders.'
        )
    wanted = [name for name in names if name not in excluded]
    splits = {split: [name for name in listed[split] if name not in excluded] for split in listed}
    with PatchWriter(out) as writer:
        present = writer.present()
        writer.drop(present & excluded)
        todo = [name for name in wanted if name not in present]
        problems = _write(writer, source, todo, workers, batch_size)
        writer.set_complete(True)
    if verify:
        failed = {name for name, _ in problems}
        stored = [name for name in wanted if name not in failed]
        problems += [
            found for found in _run(_check_one, source, out, stored, workers, 'verify') if found
        ]
    manifest = _describe(source, out, splits, problems)
    manifest['excluded'] = len(names) - len(wanted)
    manifest['verified'] = bool(verify)
    _replace(Path(out) / 'manifest.json', json.dumps(manifest, indent=1))
    close_reader(out)
    return manifest


def _check_lists(splits, source):
    """Refuses a list without any patch of the source: its names are written in another way."""
    known = set(source.names())
    for split, names in splits.items():
        if not names or not known or any(name in known for name in names):
            continue
        stem = Path(names[0]).stem
        near = f' (without its folder and suffix, {stem!r}, it is)' * (stem in known)
        raise DataError(
            f'the list {split}: none of its {len(names)} names is a patch of {source.root}; the '
            f'first is {names[0]!r}{near}, and a patch there is {min(known)!r}. Give one name per '
            'row, first in its row, without quotes, row numbers, folder and suffix.'
        )


def _write(writer, source, todo, workers, batch_size) -> list[Problem]:
    problems, results = [], _run(_read_one, source, None, todo, workers, 'convert')
    while batch := list(islice(results, batch_size)):
        writer.put((name, value) for name, value in batch if isinstance(value, bytes))
        problems += [(name, value) for name, value in batch if isinstance(value, str)]
    return problems


def _run(function, source, out, names, workers, title) -> Iterator:
    """Yields ``function(name)`` for every name, in order, computed by ``workers`` processes."""
    _start_worker(source, out)
    progress = dict(total=len(names), desc=title, unit='patch', smoothing=0.05)
    if workers == 0 or len(names) < 2:
        yield from tqdm(map(function, names), **progress)
        return
    if out:
        close_reader(out)
    with ProcessPoolExecutor(
        min(workers, len(names)), initializer=_start_process, initargs=(source, out, os.getpid())
    ) as pool:
        try:
            yield from tqdm(_in_order(pool, function, names, 4 * workers), **progress)
        except BrokenProcessPool:
            raise DataError(
                'a process that reads patches was killed (perhaps for want of memory); '
                'what it had read is kept: run the same command again, if need be with '
                'fewer --workers.'
            ) from None


def _in_order(pool, function, names, ahead) -> Iterator:
    """Yields results in the order of ``names``; at most ``ahead`` finished results wait."""
    calls = deque()
    for start in range(0, len(names), _PATCHES_PER_CALL):
        if len(calls) == ahead:
            yield from calls.popleft().result()
        calls.append(pool.submit(_each, function, names[start : start + _PATCHES_PER_CALL]))
    for call in calls:
        yield from call.result()


def _each(function, names):
    return [function(name) for name in names]


def _start_process(source, out, parent):
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _start_worker(source, out)


def _end_with(parent):
    """Ends this process when its parent has ended, because a killed parent cannot stop it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _start_worker(source, out):
    _STATE.update(source=source, reader=PatchReader(out) if out else None)


def _read_one(name: str) -> tuple[str, bytes | str]:
    """Returns a packed record, or a sentence about what is wrong with the patch."""
    try:
        return name, pack_record(_STATE['source'].read(name))
    except (RSMMError, OSError) as error:
        return name, str(error)


def _check_one(name: str) -> Problem | None:
    try:
        stored = _STATE['reader'].read(name, check=True)
        expected = _STATE['source'].read(name)
    except (RSMMError, OSError) as error:
        return name, str(error)
    if list(stored) == list(expected) and all(
        stored[key].dtype == expected[key].dtype and np.array_equal(stored[key], expected[key])
        for key in expected
    ):
        return None
    return name, 'the stored record differs from its source; remove the LMDB and convert again'


def _describe(source, out, splits, problems) -> dict:
    """Returns counts and checksums of the LMDB, and writes the lists of its splits."""
    reader = PatchReader(out)
    names, digest = reader.names(), hashlib.sha256()
    counts = {classes: np.zeros(classes, np.int64) for classes in NOMENCLATURES}
    for name in names:
        record = reader.read(name)
        for classes, total in counts.items():
            total += record.get(f'label{classes}', 0)
        digest.update(name.encode() + struct.pack('<I', reader.checksum(name)))
    held = set(names)
    return dict(
        format=FORMAT,
        version=VERSION,
        source_layout=source.layout,
        patches=len(names),
        records_sha256=digest.hexdigest(),
        bands=GROUPS,
        sizes=SIZES,
        splits={
            split: _write_split(out, split, [name for name in listed if name in held])
            for split, listed in splits.items()
        },
        label_counts={
            str(classes): dict(zip(NOMENCLATURES[classes], total.tolist()))
            for classes, total in counts.items()
            if total.any()
        },
        problems=[list(problem) for problem in problems],
    )


def _write_split(out, split, names) -> dict:
    path = Path(out) / 'splits' / f'{split}.csv'
    path.parent.mkdir(exist_ok=True)
    _replace(path, ''.join(f'{name}\n' for name in names))
    return dict(patches=len(names), names_sha1=hashlib.sha1('\n'.join(names).encode()).hexdigest())


def _replace(path, text):
    with atomic_write(path, 'w', encoding='utf-8') as file:
        file.write(text)
