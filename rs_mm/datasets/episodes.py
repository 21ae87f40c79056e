"""Lists of (image, class) entries and the drawing of an episode's supports from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rs_mm.errors import DataError
from rs_mm.limits import check_inside
from rs_mm.tables import read_text

PACKED = Path(__file__).parent / 'split_lists'


def read_entries(path: str | Path, keep_unterminated: bool = False) -> list[tuple[str, int]]:
    """Reads a list with one ``name__class`` per line, classes counted from 1.

    Args:
        path: a text file, gzipped if its name ends with ``.gz``.
        keep_unterminated: whether a last line without newline counts. The published code drops it,
            so each DLRSD list loses its last entry.

    Returns:
        Pairs of image name and class, counted from 0.

    Raises:
        MissingFileError: the file does not exist.
        DataError: the file cannot be unpacked, or a line is not ``name__class``.
    """
    lines = read_text(path, 'split list').split('\n')
    if not (keep_unterminated and lines[-1]):
        lines.pop()
    entries = []
    for number, line in enumerate(lines, 1):
        name, _, label = line.strip().rpartition('__')
        if not name or not label.isdecimal() or int(label) < 1:
            raise DataError(
                f'{path}, line {number}: expected NAME__CLASS with a class from 1, got {line!r}.'
            )
        entries.append((check_inside(name, f'{path}, line {number}'), int(label) - 1))
    return entries


def group_by_class(entries: Iterable) -> dict[int, list[str]]:
    """Lists the images of each class in the order of the entries.

    Returns:
        Class -> names.
    """
    groups = defaultdict(list)
    for name, label in entries:
        groups[label].append(name)
    return dict(groups)


def check_class_sizes(groups: dict[int, list[str]], shots: int, class_names: Sequence[str]) -> None:
    """Raises a DataError for a class with fewer than ``shots`` + 1 different images."""
    for label, names in sorted(groups.items()):
        count = len(set(names))
        if count <= shots:
            raise DataError(
                f'class {label} ({class_names[label]}) has {count} images, but an episode with '
                f'{shots} shots needs {shots + 1}; use fewer shots or leave the class out.'
            )


def draw_supports(
    rng: Any,
    names: list[str],
    query: str,
    shots: int,
    distinct: bool = False,
) -> list[str]:
    """Draws the supports of one query.

    The published sampling draws one image of the class at a time, skips the query, and may draw
    the same support again. Each draw is the first element of a permutation of the whole class, as
    in ``np.random.choice(names, 1, replace=False)``, so the generator has the same state
    afterwards.

    Args:
        rng: ``np.random`` or a generator with its functions.
        names: the images of the class.
        query: never drawn.
        shots: number of supports.
        distinct: whether all supports are different images.

    Returns:
        The supports.
    """
    if distinct:
        others = sorted(set(names) - {query})
        return [others[i] for i in rng.permutation(len(others))[:shots]]
    supports = []
    while len(supports) < shots:
        name = names[rng.permutation(len(names))[0]]
        if name != query:
            supports.append(name)
    return supports
