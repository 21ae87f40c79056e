"""The tab that finds a class by a few painted examples."""

from __future__ import annotations

import csv
import threading
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from rs_mm.apis.search import ImageSearch
from rs_mm.datasets.image_archive import SUFFIXES
from rs_mm.errors import DataError, RSMMError
from rs_mm.files import atomic_write

from .archive_files import archive_root, folder_inside
from .downloads import Downloads
from .search_tab import small, told

_MOST = 60  # number of pictures shown
_COLOUR = np.array([230, 40, 40])


def few_shot_tab(
    segmenter: Any, engine: ImageSearch, lock: threading.Lock, downloads: Downloads
) -> None:
    """Builds the tab: examples are painted or uploaded with masks, then a folder is searched.

    Args:
        segmenter: a ``FewShotSegmenter``.
        engine: the archive.
        lock: lock that is held while the model works.
        downloads: where the table of an answer is.
    """
    examples = gr.State([])
    gr.Markdown('Paint over the class to find, or upload an image and its mask; add a few.')
    with gr.Row():
        painted = gr.ImageEditor(
            label='Image: paint the object',
            type='numpy',
            brush=gr.Brush(colors=['#ff0000'], default_size=24),
            sources=['upload', 'clipboard'],
            transforms=(),
            elem_id='paint',
        )
        with gr.Column():
            files = gr.File(
                label='or an image and its mask (2 files, the mask second)',
                file_count='multiple',
                file_types=list(SUFFIXES),
                elem_id='example-files',
            )
            name = gr.Textbox('object', label='Name of the class')
            folder = gr.Textbox(
                '', label='Folder of the archive (empty: all of it)', elem_id='folder'
            )
            with gr.Row():
                add = gr.Button('Add example', elem_id='add-example')
                run = gr.Button('Find', variant='primary', elem_id='find')
                clear = gr.Button('Clear')
    shown = gr.Gallery(
        label='Examples', columns=6, height=160, allow_preview=False, elem_id='examples'
    )
    report = gr.Markdown(elem_id='few-shot-report')
    found = gr.Gallery(label='Found', columns=4, height='auto', elem_id='found')
    table = gr.DownloadButton('CSV', interactive=False)

    def add_example(examples, painted, files):
        with told():
            image, mask = read_example(painted, files)
            examples = [*examples, (image, mask)]
            return examples, [small(overlaid(*example)) for example in examples], None, None

    def find(examples, name, folder):
        with told(), lock:
            if not examples:
                raise DataError('add at least one example.')
            images, masks = map(list, zip(*examples))
            segmenter.fit(images, masks, class_name=name or 'object')
            pictures, rows, failed = search_folder(segmenter, engine, folder or '')
        path = downloads.folder() / 'found.csv'
        with atomic_write(path, 'w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows([('image', 'share', 'score'), *rows])
        text = f'{len(rows)} images, {sum(row[1] > 0 for row in rows)} with {name}'
        text += ''.join(f'\n\n{reason}' for reason in failed[:10])
        return pictures, text, gr.DownloadButton(value=str(path), interactive=True)

    # progress and "Error" lie over what they are shown on, and would hide what was painted
    private = dict(api_visibility='private')
    add.click(
        add_example,
        [examples, painted, files],
        [examples, shown, painted, files],
        show_progress_on=shown,
        **private,
    )
    run.click(
        find,
        [examples, name, folder],
        [found, report, table],
        show_progress_on=found,
        concurrency_id='model',
        concurrency_limit=1,
        **private,
    )
    clear.click(lambda: ([], [], []), None, [examples, shown, found], **private)


def read_example(painted: dict | None, files: list[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image (H, W, 3) and its mask (H, W) of 0 and 1, painted or uploaded.

    Raises:
        DataError: there is no image, or nothing is painted.
    """
    if files:
        if len(files) != 2:
            raise DataError(f'{len(files)} files came; upload an image and its mask.')
        image = np.asarray(Image.open(files[0]).convert('RGB'))
        mask = np.asarray(Image.open(files[1]).convert('L')) > 0
        if mask.shape != image.shape[:2]:
            raise DataError(f'the image has {image.shape[:2]} pixels, its mask {mask.shape}.')
        return image, mask.astype(np.uint8)
    if not painted or painted.get('background') is None:
        raise DataError('upload an image and paint over the object.')
    image = np.ascontiguousarray(painted['background'][..., :3])
    layers = [layer for layer in painted['layers'] if layer is not None]
    mask = np.zeros(image.shape[:2], bool)
    for layer in layers:
        mask |= layer[..., 3] > 0
    if not mask.any():
        raise DataError('nothing is painted; paint over the object.')
    return image, mask.astype(np.uint8)


def search_folder(segmenter: Any, engine: ImageSearch, folder: str) -> tuple[list, list, list]:
    """Finds the class in every image of a folder of the archive.

    Returns:
        Pictures with captions, the largest share first; rows of name, share and score; and a
        sentence for each image that cannot be used.
    """
    keys = next(iter(engine.index.files().values())).keys
    root = archive_root(engine.index.records(keys[:1])[0])
    inside = folder_inside(root, folder)
    results, failed = [], []
    for path in sorted(inside.rglob('*')):
        if path.suffix.lower() not in SUFFIXES or not path.resolve().is_relative_to(root.resolve()):
            continue
        try:
            result = segmenter(str(path))
        except (RSMMError, OSError) as error:
            failed.append(str(error))
            continue
        picture = small(overlaid(result.image, result.mask == 1))
        results.append((path.relative_to(root).as_posix(), result.share, result.score, picture))
    results.sort(key=lambda row: -row[1])
    pictures = [(row[3], f'{row[0]} {row[1]:.1%}') for row in results[:_MOST]]
    return pictures, [row[:3] for row in results], failed


def overlaid(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns an image (H, W, 3) uint8 with the pixels of a mask (H, W) in red."""
    image, mask = image.copy(), np.asarray(mask, bool)
    image[mask] = (0.45 * image[mask] + 0.55 * _COLOUR).astype(np.uint8)
    return image
