"""Cutting a large georeferenced pair and its labels into training tiles, split by area."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.files import atomic_path, atomic_write
from rs_mm.rasters import (
    AlignedPair,
    Grid,
    align_pair,
    check_writable,
    common_valid,
    geo_package,
    on_grid,
    open_raster,
    rasterio_or_raise,
)
from rs_mm.rasters.scratch import system_errors

SPLITS = ('train', 'val', 'test')
IGNORED = 255
_VECTORS = ('.gpkg', '.geojson', '.json', '.shp', '.parquet', '.fgb')


@dataclass
class TileOptions:
    """How tiles are cut.

    Attributes:
        tile, stride: side and distance of tiles in pixels.
        shares: shares of the area for training, validation and test.
        block: side in pixels of the blocks of the split; a multiple of the tile.
        gap: distance in pixels between tiles of one split and blocks of another.
        min_valid: least share of pixels that hold data at both dates and a label.
        class_field: attribute of the polygons with the class, 1 and up; None: every polygon is 1.
        bands: bands of the dates, counted from 0. Default: all except alpha.
        align: see :func:`rs_mm.rasters.align_pair`.
        seed: seed of the split.
    """

    tile: int = 256
    stride: int = 256
    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    block: int = 1024
    gap: int = 0
    min_valid: float = 0.5
    class_field: str | None = None
    bands: Sequence[int] | None = None
    align: str = 'none'
    seed: int = 0

    def __post_init__(self):
        if min(self.tile, self.stride, self.block) < 1 or self.gap < 0:
            raise ConfigError('tile, stride and block must be positive, and gap not negative.')
        if self.block < self.tile:
            raise ConfigError(f'block ({self.block}) must not be smaller than tile ({self.tile}).')
        if min(self.shares) < 0 or not sum(self.shares):
            raise ConfigError(f'the shares {self.shares} must be three numbers of 0 or more.')
        if not 0 <= self.min_valid <= 1:
            raise ConfigError(f'min_valid is a share, 0 to 1, got {self.min_valid}.')


@dataclass
class TileReport:
    """The result of the cutting.

    Attributes:
        tiles: number of tiles in each split.
        left_out: number of tiles left out, by reason.
        pixels: pixels of each class, in all tiles.
        bands: number of bands of a date.
        dtype: type of the dates.
    """

    tiles: Counter = field(default_factory=Counter)
    left_out: Counter = field(default_factory=Counter)
    pixels: Counter = field(default_factory=Counter)
    bands: int = 0
    dtype: str = ''

    def __str__(self) -> str:
        lines = [', '.join(f'{self.tiles[split]} {split}' for split in SPLITS) + ' tiles']
        lines += [f'  {count} tiles left out: {reason}' for reason, count in self.left_out.items()]
        total = sum(self.pixels.values()) or 1
        for number, count in sorted(self.pixels.items()):
            name = 'ignored' if number == IGNORED else f'class {number}'
            lines.append(f'  {name}: {count:,} pixels ({count / total:.2%})')
        return '\n'.join(lines)


def tile_pairs(
    date1: str | Path,
    date2: str | Path,
    label: str | Path,
    out: str | Path,
    options: TileOptions | None = None,
) -> TileReport:
    """Writes ``OUT/{train,val,test}/{A,B,label}/ROW_COLUMN.tif``, all georeferenced.

    Labels are class numbers with 255 for unknown pixels; pixels without data at a date are marked
    in A and B. ``OUT/tiles.csv`` lists the tiles.

    Args:
        date1, date2: rasters; date 2 is put on the grid of date 1 as ``options.align`` says.
        label: a raster of classes (0 and 255 mean unchanged and changed), or polygons of the
            changes (GeoPackage, GeoJSON, Shapefile, Parquet).
        out: folder without tiles.
        options: how tiles are cut.

    Returns: The counts.

    Raises:
        MissingFileError: a file does not exist.
        DataError: the dates or the label do not fit together, or no tile is left.
        ConfigError: an option has no meaning, or the folder holds tiles.
    """
    options, out = options or TileOptions(), Path(out)
    rasterio_or_raise('cutting tiles')
    check_writable(out)
    if any((out / split).exists() for split in SPLITS):
        raise ConfigError(f'{out} holds tiles already; name another folder.')
    for path in (date1, date2, label):
        if not Path(path).exists():
            raise MissingFileError(f'{path} does not exist.')
    with open_raster(date1) as first, open_raster(date2) as second:
        pair = align_pair(first, second, options.align, options.bands)
        try:
            labels = _labels(Path(label), pair.grid, options.class_field)
            with labels:
                return _cut(pair, labels, (first.info, second.info), out, options)
        finally:
            pair.close()


def _cut(pair, labels, infos, out, options):
    splits = split_blocks(pair.grid.shape, options)
    report, rows = TileReport(), []
    for top in range(0, max(1, pair.grid.height - options.tile + 1), options.stride):
        for left in range(0, max(1, pair.grid.width - options.tile + 1), options.stride):
            split = _split_of(top, left, splits, options)
            if split is None:
                report.left_out['too near to a block of another split'] += 1
                continue
            window = _window(top, left, pair.grid, options.tile)
            row = _write_tile(pair, labels, infos, out, split, window, options, report)
            if row is not None:
                rows.append(row)
    empty = [s for s, share in zip(SPLITS, options.shares) if share and not report.tiles[s]]
    if rows and empty:
        raise DataError(
            f'no tile is left for {" and ".join(empty)}: choose smaller tiles, another block or '
            f'gap, or a share of 0 for it; {out} holds the other tiles.'
        )
    if not rows:
        reasons = ', '.join(f'{n} {reason}' for reason, n in report.left_out.items())
        raise DataError(f'no tile is left ({reasons}).')
    with (
        system_errors(out),
        atomic_write(out / 'tiles.csv', 'w', newline='', encoding='utf-8') as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return report


def split_blocks(shape: tuple[int, int], options: TileOptions) -> np.ndarray:
    """Returns the split (0, 1, 2) of each block of an area.

    Blocks are numbered along a snake, so blocks of one split are together and few borders are
    between splits. The seed gives the start and the direction.

    Returns:
        (block rows, block columns) int.
    """
    rows, columns = (max(1, round(length / options.block)) for length in shape)
    order = [
        (r, c)
        for r in range(rows)
        for c in (range(columns) if r % 2 == 0 else reversed(range(columns)))
    ]
    rng = np.random.default_rng(options.seed)
    if rng.random() < 0.5:
        order.reverse()
    start = int(rng.integers(len(order)))
    order = order[start:] + order[:start]
    splits = np.zeros((rows, columns), int)
    for place, split in zip(order, np.repeat(range(3), _counts(options.shares, len(order)))):
        splits[place] = split
    return splits


def _counts(shares, blocks):
    """Returns the number of blocks of each split: by its share, but at least one if the share is
    not 0."""
    wanted = np.array(shares) / sum(shares) * blocks
    counts = np.where(wanted > 0, np.maximum(1, np.round(wanted)), 0).astype(int)
    while counts.sum() != blocks:
        step = 1 if counts.sum() < blocks else -1
        off = (wanted - counts) * step
        off[(counts + step < 1) | (wanted == 0)] = -np.inf
        if not np.isfinite(off).any():
            raise ConfigError(
                f'the area has {blocks} block(s), too few for {np.count_nonzero(wanted)} splits; '
                'set a smaller block.'
            )
        counts[off.argmax()] += step
    return counts


def _split_of(top, left, splits, options):
    """Returns the split that contains a tile with its surroundings, or None."""
    last_row, last_column = splits.shape[0] - 1, splits.shape[1] - 1

    def blocks(start, last):
        first = max(0, start - options.gap) // options.block
        end = (start + options.tile + options.gap - 1) // options.block
        return slice(min(first, last), min(end, last) + 1)

    found = np.unique(splits[blocks(top, last_row), blocks(left, last_column)])
    return SPLITS[found[0]] if len(found) == 1 else None


def _window(top, left, grid, tile):
    return (
        slice(top, min(grid.height, top + tile)),
        slice(left, min(grid.width, left + tile)),
    )


def _write_tile(pair: AlignedPair, labels, infos, out, split, window, options, report):
    dates = pair.read(options.bands, window)
    label = labels.read(*window)
    label[~common_valid(dates)] = IGNORED
    known = label != IGNORED
    if known.mean() < options.min_valid or not known.any():
        report.left_out[f'less than {options.min_valid:.0%} of the pixels are known'] += 1
        return None
    name = f'{window[0].start:06d}_{window[1].start:06d}'
    grid = pair.grid.cut(*window)
    for folder, pixels, info in zip('AB', dates, infos):
        _write(out / split / folder / f'{name}.tif', pixels.array, pixels.valid, grid, info)
    no_mask = np.ones(label.shape, bool)
    _write(out / split / 'label' / f'{name}.tif', label[..., None], no_mask, grid, None)
    report.tiles[split] += 1
    report.bands, report.dtype = dates[0].array.shape[2], str(dates[0].array.dtype)
    report.pixels.update(dict(zip(*map(np.ndarray.tolist, np.unique(label, return_counts=True)))))
    changed = ((label > 0) & known).sum() / known.sum()
    return dict(
        split=split, name=name, row=window[0].start, column=window[1].start,
        known_share=f'{known.mean():.4f}', changed_share=f'{changed:.4f}',
    )  # fmt: skip


def _write(path: Path, array, valid, grid: Grid, info: Any):
    """Writes one tile. Pixels without data hold the file's nodata value, or are masked in the
    file."""
    import rasterio

    height, width, count = array.shape
    nodata = None if info is None else info.nodata[0]
    if nodata is None and array.dtype.kind == 'f' and not valid.all():
        nodata = float('nan')
    if nodata is not None:
        array = np.where(valid[..., None], array, np.asarray(nodata).astype(array.dtype))
    colour = count == 3 and array.dtype == np.uint8
    profile = dict(
        driver='GTiff',
        height=height,
        width=width,
        count=count,
        dtype=array.dtype,
        nodata=nodata,
        crs=grid.crs,
        compress='deflate',
        photometric='rgb' if colour else 'minisblack',
    )
    if grid.transform is not None:
        profile['transform'] = grid.transform
    with (
        system_errors(path),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        atomic_path(path) as part,
        rasterio.open(part, 'w', **profile) as file,
    ):
        if count > 3 and not colour:  # GDAL would interpret the fourth band as alpha
            file.colorinterp = [
                rasterio.enums.ColorInterp.gray,
                *[rasterio.enums.ColorInterp.undefined] * (count - 1),
            ]
        file.write(array.transpose(2, 0, 1))
        if nodata is None and not valid.all():
            file.write_mask(valid)


def _labels(path: Path, grid: Grid, class_field: str | None):
    if path.suffix.lower() in _VECTORS:
        return _Polygons(path, grid, class_field)
    if class_field is not None:
        raise ConfigError(f'{path} is a raster, which has no attribute {class_field!r}.')
    return _LabelRaster(path, grid)


class _LabelRaster:
    """Classes of a raster on the grid of the dates; they are unknown outside the raster."""

    def __init__(self, path, grid):
        self.raster = open_raster(path)
        self.view = on_grid(self.raster, grid)
        self.path, self.two_levels = path, None

    def __enter__(self):
        found, (height, width) = set(), self.view.info.shape
        for top in range(0, height, 512):
            window = (slice(top, min(height, top + 512)), slice(0, width))
            pixels = self.view.read([0], window, stored=True)
            found |= set(np.unique(pixels.array[pixels.valid]).tolist())
        self.two_levels = found <= {0, 255}
        return self

    def __exit__(self, *exception):
        self.view.close()
        self.raster.close()

    def read(self, rows, columns) -> np.ndarray:
        """(h, w) uint8 classes."""
        found = self.view.read([0], (rows, columns), stored=True)
        values = found.array[..., 0]
        if self.two_levels and (values == 255).any():
            values = np.where(values == 255, 1, values)
        if values.dtype != np.uint8 and found.valid.any():
            known = values[found.valid]
            if known.min() < 0 or known.max() > IGNORED or (known % 1).any():
                raise DataError(
                    f'{self.path} holds the values {known.min():g} to {known.max():g}; classes are '
                    'whole numbers from 0 to 254, and 255 is what is not known.'
                )
        return np.where(found.valid, values, IGNORED).astype(np.uint8)


class _Polygons:
    """Classes of polygons, drawn on the grid of the dates window by window."""

    def __init__(self, path, grid, class_field):
        if grid.transform is None:
            raise DataError(f'{path}: polygons need dates with a georeference.')
        geopandas = geo_package('geopandas', f'{path}: reading polygons')
        try:
            parquet = path.suffix.lower() == '.parquet'
            table = geopandas.read_parquet(path) if parquet else geopandas.read_file(path)
        except Exception as error:  # GDAL and Arrow raise many types for a damaged file
            raise DataError(f'{path}: the polygons cannot be read ({error}).') from error
        if grid.crs is not None and table.crs is not None:
            table = table.to_crs(grid.crs.to_wkt())
        self.grid, self.table = grid, table[table.geometry.notna() & ~table.geometry.is_empty]
        self.classes = self._classes(path, class_field)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def _classes(self, path, name):
        if name is None:
            return np.ones(len(self.table), int)
        if name not in self.table.columns:
            raise ConfigError(
                f'{path} has no attribute {name!r}; it has {list(self.table.columns)}.'
            )
        try:
            values = self.table[name].astype(int).to_numpy()
        except (TypeError, ValueError) as error:
            raise DataError(f'{path}: {name} holds other than whole numbers ({error}).') from error
        if len(values) and not 0 <= values.min() <= values.max() <= IGNORED:
            raise DataError(f'{path}: {name} must be 0 to 254, or 255 for what is not known.')
        return values

    def read(self, rows, columns) -> np.ndarray:
        """Returns (h, w) uint8 classes; later polygons cover earlier ones."""
        from rasterio.features import rasterize
        from rasterio.transform import array_bounds

        part = self.grid.cut(rows, columns)
        inside = self.table.sindex.query(_box(array_bounds(*part.shape, part.transform)))
        shapes = [(self.table.geometry.iloc[i], int(self.classes[i])) for i in sorted(inside)]
        if not shapes:
            return np.zeros(part.shape, np.uint8)
        return rasterize(shapes, part.shape, transform=part.transform, dtype='uint8')


def _box(bounds):
    import shapely

    return shapely.box(*bounds)


def config_lines(report: TileReport, out: str | Path) -> str:
    """Returns lines to paste into a change detection config for the tiles."""
    last = max((number for number in report.pixels if number != IGNORED), default=1)
    known = (*range(max(1, last) + 1), IGNORED)
    suffix = (
        f"img_suffix='.tif', seg_map_suffix='.tif', format_seg_map=None,\n    label_values={known}"
    )
    if last > 1:
        suffix += f', metainfo=dict(classes={("unchanged", *(f"change {i}" for i in known[1:-1]))})'
    lines = [f"data_root = '{Path(out)}'"]
    for split in SPLITS:
        if report.tiles[split]:
            lines.append(
                f"{split}_dataloader = dict(dataset=dict(type='ChangeDetectionDataset', "
                f'data_root=data_root, {suffix},\n    data_prefix=dict('
                f"img_path_from='{split}/A', img_path_to='{split}/B', "
                f"seg_map_path='{split}/label')))"
            )
    if report.bands != 3 or report.dtype != 'uint8':
        lines.append("load = dict(type='MultiImgLoadTiff')  # first step of the pipelines")
    lines.append(
        f'# python tools/analysis_tools/dataset_statistics.py {Path(out)}/train/A '
        f'{Path(out)}/train/B gives mean and std'
    )
    return '\n'.join(lines)
