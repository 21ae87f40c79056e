"""From two image files to a mask file that lies where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from rs_mm.apis.change import to_rgb
from rs_mm.datasets.raster import pixel_grid, read_geo_tags, shift_geo_tags, write_tiff
from rs_mm.datasets.transforms.band_images import read_image
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.visualization import ChangeVisualizer, save_sheet

_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')


def predict_files(
    detector, image1, image2, out, bands=None, value_range=None, align='none', probability=False
) -> list[Path]:
    """Predicts a pair of files and writes the mask and a picture.

    Args:
        detector (ChangeDetector): the model.
        image1, image2 (str | Path): dates 1 and 2.
        out (str | Path): folder to write into.
        bands, value_range: see :meth:`ChangeDetector.__call__`.
        align (str): ``none``: pairs of different size, or whose georeferences differ by more than
            a pixel, are refused. ``ground``: cut both to the ground they share, to the nearest
            pixel. ``crop``: cut both to the smaller height and width from the upper left corner.
        probability (bool): also write the probability of change.

    Returns:
        list[Path]: the files written: ``STEM1_STEM2_change.tif`` (or ``.png``), if asked for
        ``..._probability.tif``, and ``..._picture.png``; equal stems stand once. TIFFs carry the
        georeference of date 1.

    Raises:
        DataError: the images do not show the same ground at the same size.
        ConfigError: ``out`` is named as an image.
    """
    check_folder(out)
    images, geo_tags = _read_aligned((image1, image2), align)
    images = to_rgb(images, bands, value_range)
    found = detector(*images)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    stems = dict.fromkeys((Path(image1).stem, Path(image2).stem))  # equal ones once
    stem = '_'.join(stems)
    mask = np.where(found.mask > 0, 255, 0).astype(np.uint8)
    if Path(image1).suffix.lower() in ('.tif', '.tiff'):
        written = [folder / f'{stem}_change.tif']
        write_tiff(written[0], mask, geo_tags)
    else:
        written = [folder / f'{stem}_change.png']
        save_sheet(written[0], mask)
    if probability:
        written.append(folder / f'{stem}_probability.tif')
        write_tiff(written[-1], found.probability, geo_tags)
    written.append(folder / f'{stem}_picture.png')
    save_sheet(written[-1], _picture(images, found.mask, stem))
    return written


def check_folder(out) -> None:
    """A folder to write into is not named as an image."""
    if Path(out).suffix.lower() in _SUFFIXES:
        raise ConfigError(
            f'{out} must be a folder to write into, not an image: the files are '
            'named after the dates.'
        )


def find_pairs(first, second) -> list[tuple[Path, Path]]:
    """The pair of two files, or all pairs of equally named files in two folders, sorted.

    Raises:
        MissingFileError: a file or folder does not exist.
        DataError: only one is a folder, a file of one folder is not in the other, or there is none.
    """
    first, second = Path(first), Path(second)
    for path in (first, second):
        if not path.exists():
            raise MissingFileError(f'{path} does not exist.')
    if first.is_dir() != second.is_dir():
        raise DataError(f'{first} and {second} must be two files or two folders.')
    if not first.is_dir():
        return [(first, second)]
    names = [
        {
            path.name
            for path in folder.iterdir()
            if path.is_file() and path.suffix.lower() in _SUFFIXES
        }
        for folder in (first, second)
    ]
    for name in sorted(names[0] ^ names[1]):
        lacking = second if name in names[0] else first
        raise DataError(f'{name} is not in {lacking}: both folders must hold the same names.')
    if not names[0]:
        raise DataError(f'{first} holds no image.')
    return [(first / name, second / name) for name in sorted(names[0])]


def _read_aligned(paths, align):
    """Both images cut to one size, and the georeference of the cut date 1."""
    images = [read_image(str(path)) for path in paths]
    tags = [read_geo_tags(path) for path in paths]
    columns, rows = 0, 0
    if align != 'crop':
        columns, rows = _offset(paths, tags)
        if (columns or rows) and align == 'none':
            raise DataError(
                f'{paths[0]} and {paths[1]} do not show the same ground: the upper left corner of '
                f'date 2 lies {columns} columns right and {rows} rows below that of date 1; cut '
                'both to what they share with --align ground, or go by the pixels with --align '
                'crop.'
            )
    if align != 'none':
        left, top = max(columns, 0), max(rows, 0)
        images[0] = images[0][top:, left:]
        images[1] = images[1][max(-rows, 0) :, max(-columns, 0) :]
        height, width = (min(image.shape[i] for image in images) for i in (0, 1))
        if not height or not width:
            raise DataError(f'{paths[0]} and {paths[1]} have no ground in common.')
        images = [image[:height, :width] for image in images]
        tags[0] = shift_geo_tags(tags[0], left, top)
    return images, tags[0]


def _offset(paths, tags):
    """How many whole pixels date 2 starts right of and below date 1; 0 without georeference."""
    grids = [pixel_grid(found) for found in tags]
    if None in grids:
        return 0, 0
    ((x1, y1), pixel1), ((x2, y2), pixel2) = grids
    if not np.allclose(pixel1, pixel2, rtol=1e-3):
        raise DataError(
            f'the pixels of {paths[0]} measure {pixel1[0]:g} x {pixel1[1]:g} and those '
            f'of {paths[1]} {pixel2[0]:g} x {pixel2[1]:g}: resample one to the grid of '
            'the other first, or go by the pixels with --align crop.'
        )
    return round((x2 - x1) / pixel1[0]), round((y1 - y2) / pixel1[1])


def _picture(images, mask, name):
    planes = np.concatenate([image[..., ::-1] for image in images], axis=2).transpose(2, 0, 1)
    sample = SegDataSample(metainfo=dict(img_path=[name]))
    sample.pred_sem_seg = PixelData(data=torch.from_numpy(mask[None].astype(np.int64)))
    inputs = torch.from_numpy(np.ascontiguousarray(planes))
    return ChangeVisualizer(panel_size=512).draw_sample(sample, inputs)
