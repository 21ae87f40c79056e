"""Whether what a command names is there: looked up before torch is imported, so at once."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.rasters import has_rasterio
from rs_mm.rasters.formats import is_image


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """The images of files and folders, with subfolders, sorted within each.

    Raises:
        MissingFileError: a file or folder does not exist.
        DataError: a folder holds no image.
    """
    return list(dict.fromkeys(path for path, _ in _images(paths)))


def find_queries(queries: Sequence[str | Path]) -> list[tuple[Path, str]]:
    """The images of files and folders, with a name that no two share.

    Raises:
        MissingFileError: a file or folder does not exist.
        DataError: a folder holds no image.
    """
    return _without_twins(_images(queries))


def _images(paths):
    """Files, and their names: relative to the folder that was given, without suffix."""
    found = []
    for path in map(Path, paths):
        if not path.exists():
            raise MissingFileError(f'there is no image or folder {path}.')
        if not path.is_dir():
            found.append((path, path.stem))
            continue
        files = sorted(filter(is_image, path.rglob('*')))
        if not files:
            raise DataError(f'{path} holds no image (.png, .jpg, .tif, .jp2, .vrt, ...).')
        found += [(file, str(file.relative_to(path).with_suffix(''))) for file in files]
    return found


def _without_twins(found):
    """a.png and a.tif of one folder would write one file: then the suffix stays in the name."""
    names = [name.lower() for _, name in found]
    named = [
        (path, f'{name}_{path.suffix[1:]}' if names.count(name.lower()) > 1 else name)
        for path, name in found
    ]
    taken: dict[str, int] = {}
    result = []
    for path, name in named:
        count = taken[name.lower()] = taken.get(name.lower(), 0) + 1
        result.append((path, name if count == 1 else f'{name}_{count}'))
    return result


def check_supports(pairs: Sequence[Sequence[str]]) -> None:
    """The files of pairs of an image and a mask are there.

    Raises:
        MissingFileError: naming the first that is not.
    """
    for pair in pairs:
        for path in pair:
            if not Path(path).exists():
                raise MissingFileError(f'{path}: no such file; it is to be a support or its mask.')


def check_map(path: str | Path | None) -> None:
    """Refuses a name for a map before any work is done.

    Raises:
        ConfigError: if it is no HTML file, or rasterio is missing.
    """
    if path is None:
        return
    if Path(path).suffix.lower() not in ('.html', '.htm'):
        raise ConfigError(f'--map {path}: the map is an .html file.')
    if not has_rasterio():
        raise ConfigError('--map needs rasterio: pip install "rs_mm[geo]".')


def check_search(args: Namespace) -> None:
    """What the options of ``tools/retrieval/search.py`` name is there.

    Raises:
        MissingFileError: an archive, a query image, weights or a table is not there.
    """
    if args.archive and not Path(args.archive).is_dir():
        raise MissingFileError(f'--archive {args.archive}: there is no such folder.')
    if args.weights and ':' not in args.weights and not Path(args.weights).exists():
        raise MissingFileError(f'there are no weights {args.weights}.')
    for option in ('queries', 'metadata'):
        table = getattr(args, option)
        if table and not Path(table).is_file():
            raise MissingFileError(f'--{option} {table}: there is no such table.')
    if args.archive and args.image and not Path(args.image).is_file():
        # an image of the archive may be named as the archive names it, with a window or without
        name = args.image.partition('#')[0]
        if not (Path(args.archive) / name).is_file():
            raise MissingFileError(f'there is no query image {args.image}.')
