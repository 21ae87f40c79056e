"""Lists of (image, class) entries and the drawing of an episode's supports from them."""

from __future__ import annotations

import gzip
from collections import defaultdict
from pathlib import Path

from rs_mm.errors import DataError, MissingFileError

PACKED = Path(__file__).parent / 'split_lists'


def read_entries(path, keep_unterminated=False):
    """Reads a list with one ``name__class`` a line, classes counted from 1.

    Args:
        path (str | Path): a text file, gzipped if its name ends with ``.gz``.
        keep_unterminated (bool): whether a last line without newline counts. The published code
            drops it, which costs each DLRSD list its last entry.

    Returns:
        list[tuple[str, int]]: image name, class counted from 0.

    Raises:
        MissingFileError: if there is no such file.
        DataError: if it cannot be unpacked, or a line is not ``name__class``.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == '.gz' else data).decode()
    except FileNotFoundError as error:
        raise MissingFileError(f'there is no split list {path}.') from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f'the split list {path} cannot be read: {error}.') from error
    lines = text.split('\n')
    if not (keep_unterminated and lines[-1]):
        lines.pop()
    entries = []
    for number, line in enumerate(lines, 1):
        name, _, label = line.strip().rpartition('__')
        if not name or not label.isdigit() or int(label) < 1:
            raise DataError(
                f'{path}, line {number}: expected NAME__CLASS with a class from 1, got {line!r}.'
            )
        entries.append((name, int(label) - 1))
    return entries


def group_by_class(entries):
    """Lists the images of each class in the order of the entries.

    Returns:
        dict[int, list[str]]: class -> names.
    """
    groups = defaultdict(list)
    for name, label in entries:
        groups[label].append(name)
    return dict(groups)


def check_class_sizes(groups, shots, class_names):
    """Raises DataError for a class with fewer than ``shots`` + 1 different images."""
    for label, names in sorted(groups.items()):
        count = len(set(names))
        if count <= shots:
            raise DataError(
                f'class {label} ({class_names[label]}) has {count} images, but an episode with '
                f'{shots} shots needs {shots + 1}; use fewer shots or leave the class out.'
            )


def draw_supports(rng, names, query, shots, distinct=False):
    """Draws the supports of one query.

    The published sampling draws one image of the class at a time, skips the query, and may draw
    the same support again. Each draw is the first element of a permutation of the whole class, as
    ``np.random.choice(names, 1, replace=False)`` takes it, so that the generator moves on as there.

    Args:
        rng (module | np.random.RandomState): ``np.random`` or a generator with its functions.
        names (list[str]): the images of the class.
        query (str): never drawn.
        shots (int): how many to draw.
        distinct (bool): whether all are different images.

    Returns:
        list[str]: the supports.
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
