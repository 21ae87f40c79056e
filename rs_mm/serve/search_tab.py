"""The tab for search: a query, its results as pictures, as a map, and as files."""

from __future__ import annotations

import contextlib
import html
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from rs_mm.apis.search import METHODS, ImageSearch, Results
from rs_mm.apis.search.map import search_map
from rs_mm.errors import ConfigError, RSMMError
from rs_mm.retrieval.index import make_filter

from .archive_files import is_inside
from .downloads import Downloads

_SIDE = 320  # longer side of a picture in the gallery
_IMAGES = ['.bmp', '.jp2', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp']


def search_tab(engine: ImageSearch, lock: threading.Lock, downloads: Downloads) -> None:
    """Builds the tab with two queries side by side, the second on request.

    Args:
        engine: archive to search.
        lock: lock that is held while the model works.
        downloads: where the files of an answer are.
    """
    second = gr.Checkbox(label='Compare two queries', elem_id='compare')
    with gr.Row():
        with gr.Column():
            _panel(engine, lock, downloads, 'a')
        with gr.Column(visible=False) as other:
            _panel(engine, lock, downloads, 'b')
    second.change(lambda shown: gr.Column(visible=shown), second, other, api_visibility='private')


def _panel(engine, lock, downloads, name):
    """A panel for a query and its results; ``name`` distinguishes the two panels."""
    has_text = hasattr(engine.model, 'encode_text')
    chosen, hits = gr.State(None), gr.State([])
    with gr.Row():
        upload = gr.File(
            label='Query image (upload, or click on a result)',
            file_types=_IMAGES,
            type='filepath',
            height=120,
            elem_id=f'upload-{name}',
        )
        shown = gr.Image(
            label='Query', interactive=False, height=160, elem_id=f'query-{name}', buttons=[]
        )
    text = gr.Textbox(
        label='Text' if has_text else 'Text (this model takes none)',
        placeholder='with boats, or: a harbor but without boats',
        interactive=has_text,
        elem_id=f'text-{name}',
    )
    with gr.Row():
        method = gr.Dropdown(list(METHODS), value='weicom', label='Method', interactive=has_text)
        lam = gr.Slider(
            0,
            1,
            0.5,
            step=0.05,
            label='Share of the text (lambda)',
            interactive=has_text,
            elem_id=f'lambda-{name}',
        )
        count = gr.Slider(1, 60, 12, step=1, label='Images')
    with gr.Accordion('Filters', open=False):
        bbox = gr.Textbox(label='Box: west, south, east, north in degrees')
        with gr.Row():
            after, before = gr.Textbox(label='From date'), gr.Textbox(label='To date')
            labels = gr.Textbox(label='Labels, separated by commas')
        where = gr.Textbox(label='Condition', placeholder='sensor == "S2" and north > 54')
    with gr.Row():
        button = gr.Button('Search', variant='primary', elem_id=f'search-{name}')
        clear = gr.Button('Clear', elem_id=f'clear-{name}')
    report = gr.Markdown(elem_id=f'report-{name}')
    gallery = gr.Gallery(
        label='Results: click on one for more like this',
        columns=4,
        height='auto',
        allow_preview=False,
        interactive=False,
        elem_id=f'gallery-{name}',
    )
    with gr.Row():
        table = gr.DownloadButton('CSV', interactive=False, elem_id=f'csv-{name}')
        places = gr.DownloadButton('GeoJSON', interactive=False, elem_id=f'geojson-{name}')
    where_it_is = gr.HTML(elem_classes='map', elem_id=f'map-{name}')
    answers = [shown, report, gallery, table, places, where_it_is, hits]
    query = [upload, chosen, text, method, lam, count, bbox, after, before, labels, where]

    def ask(upload, chosen, text, method, lam, count, bbox, after, before, labels, where):
        with told(), lock:
            image = chosen or upload
            condition = make_filter(
                _numbers(bbox),
                after or None,
                before or None,
                [part.strip() for part in (labels or '').split(',') if part.strip()],
                where,
            )
            found = engine(image, text, float(lam), int(count), method, condition)
            return _answer(engine, image, found, downloads.folder())

    def more_like_this(hits, event: gr.SelectData):
        return None, hits[event.index]

    events: dict[str, Any] = dict(
        api_visibility='private',
        concurrency_id='model',
        concurrency_limit=1,
        show_progress_on=gallery,
    )
    button.click(ask, query, answers, **events)
    text.submit(ask, query, answers, **events)
    gallery.select(more_like_this, hits, [upload, chosen], api_visibility='private').then(
        ask, query, answers, **events
    )
    upload.upload(lambda: None, None, chosen, api_visibility='private')
    clear.click(
        lambda: (None, None, '', None, '', [], None, []),
        None,
        [upload, chosen, text, shown, report, gallery, where_it_is, hits],
        api_visibility='private',
    )


def _answer(engine, image, found: Results, folder: Path):
    """Returns the values that the panel shows for a result."""
    inside = [hit for hit in found if is_inside(hit.record)]
    hidden = len(found) - len(inside)
    found = Results(inside, found.answer, found.method, found.sheet)
    pictures = [
        (small(engine.picture(hit.record)), f'{rank}. {hit.score:.3f} {Path(hit.path).name}')
        for rank, hit in enumerate(found, 1)
    ]
    found.save(folder / 'results.csv')
    found.save(folder / 'results.geojson')
    placed = any(hit.record.footprint is not None for hit in found)
    return (
        None if image is None else small(engine.query_picture(image)),
        f'{found.method}; {found.answer.report()}'
        + f'; {hidden} lead out of the archive and are not shown' * bool(hidden),
        gr.Gallery(pictures, selected_index=None),
        gr.DownloadButton(value=str(folder / 'results.csv'), interactive=True),
        gr.DownloadButton(value=str(folder / 'results.geojson'), interactive=True),
        framed(search_map(engine, found).html()) if placed else '',
        [hit.record.key for hit in found],
    )


def framed(page: str) -> str:
    """Returns an HTML page in a frame, which can run its scripts but access nothing else."""
    return f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(page)}"></iframe>'


def small(image: np.ndarray, side: int = _SIDE) -> np.ndarray:
    """Reduces a picture (H, W, 3) uint8 to a longer side of at most ``side``."""
    picture = Image.fromarray(image)
    picture.thumbnail((side, side))
    return np.asarray(picture)


@contextlib.contextmanager
def told() -> Iterator[Any]:
    """Shows errors that a user can correct on the page."""
    try:
        yield
    except (RSMMError, OSError) as error:
        raise gr.Error(str(error), print_exception=False) from error


def _numbers(text):
    if not text or not text.strip():
        return None
    try:
        return [float(part) for part in text.replace(';', ',').split(',')]
    except ValueError:
        raise ConfigError(
            f'the box "{text}" is not four numbers: west, south, east, north.'
        ) from None
