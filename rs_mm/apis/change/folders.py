"""Finding, checking, predicting and listing the pairs of two folders.

torch is imported only for the first prediction, so a wrong path is reported at once.
"""

from __future__ import annotations

import csv
import fnmatch
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rs_mm.apis.change.outputs import OutputOptions, bytes_needed, output_paths
from rs_mm.errors import ConfigError, DataError, MissingFileError, RSMMError
from rs_mm.files import atomic_write
from rs_mm.launch.config_files import find_config
from rs_mm.rasters import check_free_space, check_writable, describe
from rs_mm.rasters.formats import SUFFIXES, is_image
from rs_mm.rasters.polygon_files import check_polygon_file
from rs_mm.tables import read_records

_COLUMNS = (
    'pair', 'status', 'changed_share', 'changed_area_m2', 'valid_share', 'seconds', 'reason', 'job',
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two files of the same place.

    Attributes:
        name: relative name without suffix, unique among the pairs; outputs get this name.
        first, second: dates 1 and 2.
    """

    name: str
    first: Path
    second: Path


def find_pairs(
    first: str | Path,
    second: str | Path,
    pattern1: str | None = None,
    pattern2: str | None = None,
) -> list[Pair]:
    """Finds the pair of two files, or the pairs in two folders and their subfolders, sorted.

    Args:
        first, second: two files, or two folders, which may be equal. Without patterns, files with
            the same name are a pair; the case of the suffix is ignored.
        pattern1, pattern2: names of the dates with one ``*``, e.g. ``*_2009.tif``; two files are a
            pair if the ``*`` matches the same text.

    Returns:
        The pairs, sorted by name.

    Raises:
        MissingFileError: a file or folder does not exist.
        DataError: only one of them is a folder, two files of a folder have the same name, a file
            has no partner, or there is no image.
        ConfigError: a pattern has no ``*``, or patterns are given for files.
    """
    first, second = Path(first), Path(second)
    for path in (first, second):
        if not path.exists():
            raise MissingFileError(f'{path} does not exist.')
    if first.is_dir() != second.is_dir():
        raise DataError(f'{first} and {second} must be two files or two folders.')
    patterns = pattern1 or pattern2, pattern2 or pattern1
    if not first.is_dir():
        if any(patterns):
            raise ConfigError(
                '--pattern1 and --pattern2 choose files of folders, but files are given.'
            )
        name = '_'.join(dict.fromkeys((first.stem, second.stem)))
        return [Pair(name, first, second)]
    found = [_keyed(folder, pattern) for folder, pattern in zip((first, second), patterns)]
    _check_partners(found, (first, second))
    keys = sorted(found[0])
    return _named([(key, found[0][key], found[1][key]) for key in keys], any(patterns))


def _check_partners(found, folders):
    if not found[0] and not found[1]:
        raise DataError(f'{folders[0]} holds no image.')
    for has, lacks in ((0, 1), (1, 0)):
        lonely = sorted(found[has].keys() - found[lacks].keys())
        if lonely:
            name = found[has][lonely[0]].relative_to(folders[has])
            raise DataError(
                f'{name} is not in {folders[lacks]} ({len(lonely)} such file(s)): both folders '
                'must hold the same names, or names that --pattern1 and --pattern2 tie together.'
            )


def _keyed(folder, pattern):
    """Returns the images of a folder by the part of the name that partners share."""
    match = _matcher(pattern)
    found = {}
    for path in sorted(folder.rglob('*')):
        inside = path.relative_to(folder)
        hidden = any(part.startswith('.') for part in inside.parts)
        if hidden or not is_image(path) or (key := match(path.name)) is None:
            continue
        key = (inside.parent / key).as_posix()
        if key in found:
            raise DataError(
                f'{found[key]} and {path} have one name up to the case of the suffix, so that it '
                'is not known which is meant; rename one.'
            )
        found[key] = path
    return found


def _matcher(pattern):
    if pattern is None:
        return lambda name: Path(name).stem + Path(name).suffix.lower()
    if pattern.count('*') != 1:
        raise ConfigError(
            f'the pattern {pattern!r} needs one * for what both dates have in common.'
        )
    before, after = (fnmatch.translate(part)[4:-3] for part in pattern.split('*'))
    compiled = re.compile(f'{before}(.+){after}', re.IGNORECASE)

    def match(name):
        found = compiled.fullmatch(name)
        return found.group(1) if found else None

    return match


def _named(keyed, by_pattern):
    """Returns pairs with unique names: equal stems keep their suffix."""
    stems = Counter(key if by_pattern else str(Path(key).with_suffix('')) for key, _, _ in keyed)
    pairs = []
    for key, one, two in keyed:
        stem = key if by_pattern else str(Path(key).with_suffix(''))
        pairs.append(Pair(key.replace('.', '_') if stems[stem] > 1 else stem, one, two))
    return pairs


def check_before(
    pairs: Sequence[Pair],
    config: str | Path,
    checkpoint: str | Path | None,
    out: str | Path,
    options: OutputOptions,
) -> None:
    """Checks the arguments before large packages are imported.

    Raises:
        MissingFileError: the config or the checkpoint does not exist.
        ConfigError: ``out`` cannot be a folder, or polygons cannot be written.
        DataError: the only pair cannot be read, or the disk has no room for its map.
    """
    if Path(out).suffix.lower() in SUFFIXES:
        raise ConfigError(
            f'{out} must be a folder to write into, not an image: the files are '
            'named after the dates.'
        )
    check_writable(out)
    find_config(config)
    named_by_url = '://' in str(checkpoint)
    if checkpoint is not None and not named_by_url and not Path(checkpoint).is_file():
        raise MissingFileError(f'there is no checkpoint {checkpoint}.')
    if options.polygons:
        polygons = options.polygons
        check_polygon_file(f'changes{polygons}' if polygons.startswith('.') else polygons)
        if len(pairs) > 1 and not polygons.startswith('.'):
            raise ConfigError(
                f'--polygons {polygons}: {len(pairs)} pairs would be written into one file; give '
                'a suffix, e.g. --polygons .gpkg, for one file per pair.'
            )
    if len(pairs) == 1:
        first, _ = describe(pairs[0].first), describe(pairs[0].second)
        check_free_space(out, bytes_needed(first.shape, options), 'the map')


def predict_pairs(
    pairs: Sequence[Pair],
    out: str | Path,
    predict: Callable[[Pair], Any],
    job: Callable[[Pair], dict],
    options: OutputOptions,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Predicts pair after pair; a bad pair is listed, and the others are predicted.

    ``summary.csv`` in ``out`` holds a line per pair and is updated after each.

    Args:
        pairs: from :func:`find_pairs`.
        out: folder.
        predict: function of a pair to a ``PairResult``.
        job: function of a pair to what its result depends on; a pair that was finished with the
            same job is not predicted again.
        options: outputs to write.
        overwrite: predict finished pairs again.
        say: prints a line.

    Returns:
        The number of pairs without a result.
    """
    table = _Table(Path(out) / 'summary.csv')
    failed = []
    for number, pair in enumerate(pairs, 1):
        say(f'{number} of {len(pairs)}: {pair.name}')
        row = dict(pair=pair.name)
        try:
            key = _job_key(pair, job, options)
            if not overwrite and table.finished(pair.name, key) and _all_there(pair, out, options):
                say('  finished before (--overwrite predicts it again)')
                continue
            result = predict(pair)
            row |= dict(status='done', job=key, **result.row())
            for note in result.notes:
                say(f'  note: {note}')
            say('\n'.join(f'  wrote {path}' for path in result.written))
        except (RSMMError, OSError, MemoryError) as error:
            reason = ' '.join(str(error).split()) or type(error).__name__
            failed.append((pair.name, reason))
            row |= dict(status='failed', reason=reason)
            print(f'  error: {reason}', file=sys.stderr, flush=True)
        table.put(row)
    say(f'{len(pairs) - len(failed)} of {len(pairs)} pairs have a map; see {table.path}')
    for name, reason in failed:
        say(f'  no map of {name}: {reason}')
    return len(failed)


def _job_key(pair, job, options):
    identity = job(pair) | dict(options=vars(options))
    return hashlib.sha256(json.dumps(identity, default=str).encode()).hexdigest()[:16]


def _all_there(pair, out, options):
    paths = output_paths(
        Path(out) / pair.name, pair.first, describe(pair.first).georeferenced, options
    )
    return all(path.is_file() for path in paths.values())


class _Table:
    """The table ``summary.csv``, which is written as a whole after each pair."""

    def __init__(self, path):
        self.path, self.rows = path, {}
        if path.is_file():
            for row in read_records(path)[1]:
                if row.get('pair'):
                    self.rows[row['pair']] = row

    def finished(self, name, key):
        row = self.rows.get(name, {})
        return row.get('status') == 'done' and row.get('job') == key

    def put(self, row):
        self.rows[row['pair']] = row
        with atomic_write(self.path, 'w', newline='', encoding='utf-8') as file:
            writer = csv.DictWriter(file, _COLUMNS, extrasaction='ignore', restval='')
            writer.writeheader()
            writer.writerows(self.rows[name] for name in sorted(self.rows))
