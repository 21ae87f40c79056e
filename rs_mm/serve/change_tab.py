"""The tab that shows changes: both dates, the mask, and every patch by its area."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from rs_mm.datasets.transforms.clip_images import LoadRGBImage
from rs_mm.errors import DataError, MissingFileError
from rs_mm.rasters import Grid, describe, pixel_areas, read_pixels

from .search_tab import small, told

_SIDE = 900
_MASKS = ('_change.tif', '_change.png')
_COLOUR = np.array([230, 40, 40])
_MOST = 200  # number of listed patches


def change_tab(folder: Path, dates: tuple[str | Path, str | Path] | None) -> None:
    """Builds the tab for results of ``tools/predict_change.py``.

    Args:
        folder: its ``--out``.
        dates: folders of the images of date 1 and date 2; without them only the mask is shown.

    Raises:
        MissingFileError: the folder holds no mask, or a folder does not exist.
    """
    masks = find_masks(folder)
    for date in dates or ():
        if not Path(date).is_dir():
            raise MissingFileError(f'there is no folder of images {date}.')
    with gr.Row():
        pair = gr.Dropdown(list(masks), value=None, label='Pair', elem_id='pair')
        about = gr.Markdown(elem_id='change-about')
    with gr.Row():
        before_after = gr.ImageSlider(label='Date 1 | date 2', interactive=False, elem_id='dates')
        after_mask = gr.ImageSlider(label='Date 2 | changes', interactive=False, elem_id='changes')
    table = gr.Dataframe(
        headers=['patch', 'area', 'unit', 'column', 'row'],
        label='Patches of change, the largest first',
        interactive=False,
        elem_id='patches',
    )

    def show(name):
        with told():
            if name not in masks:
                raise DataError(f'there is no pair {name}.')
            return show_pair(masks[name], dates)

    pair.change(
        show,
        pair,
        [before_after, after_mask, table, about],
        show_progress_on=after_mask,
        api_visibility='private',
    )


def find_masks(folder: Path) -> dict[str, Path]:
    """Finds the masks of a folder by the names of their pairs.

    Raises:
        MissingFileError: there is no mask.
    """
    found = sorted(path for path in folder.rglob('*_change.*') if path.name.endswith(_MASKS))
    if not found:
        raise MissingFileError(
            f'{folder} holds no map of changes (*_change.tif or *_change.png); write some with '
            'tools/predict_change.py.'
        )
    return {
        path.relative_to(folder).as_posix().removesuffix(path.suffix)[: -len('_change')]: path
        for path in found
    }


def show_pair(mask_path: Path, dates: tuple[str | Path, str | Path] | None) -> tuple:
    """Returns both sliders, the table of patches and a line about a pair.

    Args:
        mask_path: a mask of ``predict_change``: 0 unchanged, 127 no data, other values changed.
        dates: folders of the images.
    """
    mask = read_pixels(mask_path).array[..., 0]
    changed = ~np.isin(mask, (0, 127))
    first, second = (_date(mask_path, folder, i) for i, folder in enumerate(dates or (None, None)))
    blank = np.full((*mask.shape, 3), 200, np.uint8)
    second = blank if second is None else _fit(second, mask.shape)
    first = second if first is None else _fit(first, mask.shape)
    painted = second.copy()
    painted[changed] = (0.35 * painted[changed] + 0.65 * _COLOUR).astype(np.uint8)
    rows = patches(mask_path, changed)
    share = changed.sum() / max(1, (mask != 127).sum())
    about = f'{share:.2%} changed, {len(rows)} patches' + (
        '' if dates else '. Name the folders of the images (--dates DIR1 DIR2) to see them.'
    )
    shown = [small(image, _SIDE) for image in (first, second, painted)]
    return (shown[0], shown[1]), (shown[1], shown[2]), rows[:_MOST], about


def patches(mask_path: Path, changed: np.ndarray) -> list[list[Any]]:
    """Returns number, area, unit and centre of every patch (8-connected), the largest first.

    Args:
        mask_path: the raster, which gives the size of a pixel.
        changed: (H, W) bool.
    """
    areas = pixel_areas(Grid.of(describe(mask_path)))
    count, labels, stats, centres = cv2.connectedComponentsWithStats(
        changed.astype(np.uint8), connectivity=8
    )
    sizes = stats[1:, cv2.CC_STAT_AREA].astype(np.float64)
    if areas is not None:
        per_pixel = np.repeat(np.asarray(areas)[:, None], changed.shape[1], 1)
        sizes = np.bincount(labels.ravel(), per_pixel.ravel(), count)[1:]
    unit = 'pixels' if areas is None else 'm²'
    order = np.argsort(-sizes, kind='stable')
    return [
        [rank, round(float(sizes[i]), 1), unit, *(round(float(c)) for c in centres[i + 1])]
        for rank, i in enumerate(order, 1)
    ]


def _date(mask_path, folder, number):
    """Finds the image of one date, by the name in the mask's tags or by the name of the pair."""
    if folder is None:
        return None
    names, stem = [], mask_path.stem.removesuffix('_change')
    if mask_path.suffix == '.tif':
        import rasterio

        with rasterio.open(mask_path) as file:
            names.append(file.tags().get(f'DATE_{number + 1}', ''))
    files = [path for path in sorted(Path(folder).rglob('*')) if path.is_file()]
    for path in files:
        if (
            path.name in names
            or path.stem == stem
            or (stem.startswith(path.stem + '_') and not number)
        ):
            return LoadRGBImage()(dict(img_path=str(path)))['img']
        if number and stem.endswith('_' + path.stem):
            return LoadRGBImage()(dict(img_path=str(path)))['img']
    return None


def _fit(image, shape):
    if image.shape[:2] == shape:
        return image
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
