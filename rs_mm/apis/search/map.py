"""The results of a search as a map in one HTML file."""

from __future__ import annotations

from pathlib import Path

from rs_mm.visualization.web_map import Item, Overlay, Shapes, WebMap, rectangle

from .engine import ImageSearch
from .results import Results


def search_map(engine: ImageSearch, found: Results) -> WebMap:
    """Makes a map with a small picture and a footprint of every hit; hits without coordinates are
    listed.

    Args:
        engine: the searched archive.
        found: its results.
    """
    page = WebMap('Search results', f'{found.method}; {found.answer.report()}', side=512)
    features = []
    for hit, row in zip(found, found.rows()):
        picture, place = engine.picture(hit.record), hit.record.footprint
        title = f'{row["rank"]}. {Path(hit.path).name}'
        facts = [f'{hit.score:.4f}', row['date'], row['sensor'], row['labels']]
        if hit.change is not None:
            facts.insert(1, f'{hit.change:.1%} changed')
        page.items.append(Item(title, ', '.join(filter(None, facts)), picture, place))
        if place is not None:
            page.overlays.append(Overlay(title, picture, place, 'quicklooks'))
            features.append(rectangle(place, row))
    if features:
        page.shapes.append(Shapes('footprints', features))
    return page


def write_search_map(path: str | Path, engine: ImageSearch, found: Results) -> None:
    """Writes :func:`search_map` to a file."""
    search_map(engine, found).save(path)
