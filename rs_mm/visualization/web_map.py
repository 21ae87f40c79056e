"""A map as one HTML file: pictures, polygons and a list, opened by a double click, offline.

Leaflet 1.9.4 is part of rs_mm (BSD-2-Clause, ``leaflet/LICENSE``) and is written into the page,
like the pictures. The page does not contact any server.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rs_mm.errors import DataError
from rs_mm.files import atomic_write

_FOLDER = Path(__file__).parent / 'leaflet'
#: west, south, east, north in degrees; or left, top, right, bottom in pixels
Bounds = tuple[float, float, float, float]


@dataclass
class Overlay:
    """A picture on the map.

    Attributes:
        name: name of the picture.
        image: (H, W), (H, W, 3) or (H, W, 4) uint8; the fourth channel is opacity.
        bounds: its position.
        group: entry of the layer control that shows or hides it.
        opacity: 0 to 1.
    """

    name: str
    image: np.ndarray
    bounds: Bounds
    group: str = 'pictures'
    opacity: float = 1.0


@dataclass
class Shapes:
    """Polygons or points with attributes.

    Attributes:
        name: entry of the layer control.
        features: GeoJSON features in degrees, or in pixels with y downwards. Attributes are shown
            on a click; one named ``_colour`` is the colour of its feature.
        colour: colour of the outlines.
        fill: opacity of the area, 0 to 1.
    """

    name: str
    features: Sequence[dict]
    colour: str = '#d9480f'
    fill: float = 0.15


@dataclass
class Item:
    """A line of the list beside the map; a click on it shows its place.

    Attributes:
        title: first line.
        text: further text.
        image: its picture, (H, W, 3) uint8, or None.
        bounds: its position, or None.
    """

    title: str
    text: str = ''
    image: np.ndarray | None = None
    bounds: Bounds | None = None


@dataclass
class WebMap:
    """The content of a map.

    Attributes:
        title: heading of the page.
        subtitle: line below it.
        overlays: pictures.
        shapes: polygons.
        items: list beside the map.
        legend: names and CSS colours.
        geographic: whether places are in degrees (WGS84) or in pixels.
        side: pictures are reduced to this many pixels.

    Example:
        >>> picture = Overlay('2020', rgb, (15.0, 49.6, 15.1, 49.7))
        >>> changes = Shapes('changes', features)
        >>> WebMap('Changes', overlays=[picture], shapes=[changes]).save('map.html')
    """

    title: str
    subtitle: str = ''
    overlays: list[Overlay] = field(default_factory=list)
    shapes: list[Shapes] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    geographic: bool = True
    side: int = 1024

    def html(self) -> str:
        """Returns the page.

        Raises:
            DataError: a position is not finite, or outside the Earth.
        """
        parts = dict(
            TITLE=html.escape(self.title),
            SUBTITLE=html.escape(self.subtitle),
            LEAFLET_CSS=_css(),
            LEAFLET_JS=(_FOLDER / 'leaflet.js').read_text(encoding='utf-8'),
            # a text that closes the element would become a part of the page
            DATA=json.dumps(self._data(), ensure_ascii=False).replace('<', '\\u003c'),
        )
        page = (_FOLDER / 'map.html').read_text(encoding='utf-8')
        # in one pass, so inserted texts are not searched again
        return re.sub('@(' + '|'.join(parts) + ')@', lambda mark: parts[mark[1]], page)

    def save(self, path: str | Path) -> None:
        """Writes the page.

        Raises:
            DataError: see :meth:`html`.
        """
        page = self.html()
        with atomic_write(path, 'w', encoding='utf-8') as file:
            file.write(page)

    def _data(self):
        # Leaflet puts names of layers into its list as markup; all other texts are set as texts
        return dict(
            geographic=self.geographic,
            legend=self.legend,
            overlays=[
                dict(
                    name=part.name,
                    group=html.escape(part.group),
                    opacity=part.opacity,
                    bounds=self._checked(part.bounds, part.name),
                    image=data_uri(part.image, self.side),
                )
                for part in self.overlays
            ],
            shapes=[
                dict(
                    name=html.escape(part.name),
                    colour=part.colour,
                    fill=part.fill,
                    features=dict(type='FeatureCollection', features=list(part.features)),
                )
                for part in self.shapes
            ],
            items=[
                dict(
                    title=item.title,
                    text=item.text,
                    bounds=None if item.bounds is None else self._checked(item.bounds, item.title),
                    image=None if item.image is None else data_uri(item.image, 256),
                )
                for item in self.items
            ],
        )

    def _checked(self, bounds, name):
        values = [float(value) for value in bounds]
        on_earth = abs(values[1]) <= 90 and abs(values[3]) <= 90
        if not all(map(math.isfinite, values)) or (self.geographic and not on_earth):
            raise DataError(f'{name}: the place {tuple(values)} is not on the map.')
        return values


def data_uri(image: np.ndarray, side: int) -> str:
    """Encodes a picture as text: JPEG, or PNG if it has transparency.

    Args:
        image: (H, W), (H, W, 3) or (H, W, 4) uint8.
        side: the longer side is reduced to this.
    """
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((side, side))
    buffer, kind = io.BytesIO(), 'png' if picture.mode in ('RGBA', 'LA') else 'jpeg'
    picture.save(buffer, kind, quality=85)
    return f'data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}'


def rectangle(bounds: Bounds, properties: dict[str, Any]) -> dict:
    """Returns a GeoJSON feature of a box."""
    left, first, right, second = bounds
    ring = [[left, first], [right, first], [right, second], [left, second], [left, first]]
    return dict(
        type='Feature', geometry=dict(type='Polygon', coordinates=[ring]), properties=properties
    )


def _css():
    """Returns Leaflet's style with the one picture that is used; the others are left out."""
    style = (_FOLDER / 'leaflet.css').read_text(encoding='utf-8')
    picture = base64.b64encode((_FOLDER / 'layers.png').read_bytes()).decode()
    for name in ('layers.png', 'layers-2x.png'):
        style = style.replace(f'url(images/{name})', f'url(data:image/png;base64,{picture})')
    return style.replace('url(images/marker-icon.png)', 'none')
