"""A small fake PatternNet with PatternCom's six tables, whose scenes show their attributes."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

COLORS = dict(
    white=(245, 245, 245),
    gray=(130, 130, 135),
    purple=(140, 60, 170),
    green=(50, 150, 80),
    blue=(50, 90, 190),
    red=(190, 60, 50),
)
GRASS, WATER, ASPHALT, SAND = (105, 135, 80), (55, 95, 120), (95, 95, 100), (190, 175, 140)

# class -> (attribute, its values in turn)
CLASSES = {
    'airplane': ('color', ('white', 'gray', 'purple')),
    'basketballcourt': ('quantity', ('one', 'two', 'four')),
    'bridge': ('context', ('over water', 'over grass')),
    'closedroad': ('shape', ('round',)),
    'denseresidential': ('density', ('dense',)),
    'ferryterminal': ('existence', ('with boats', 'without boats')),
    'harbor': ('existence', ('with boats', 'without boats')),
    'intersection': ('shape', ('cross shaped', 't shaped')),
    'overpass': ('context', ('over road', 'over grass')),
    'parkinglot': ('existence', ('with cars', 'without cars')),
    'river': ('shape', ('curved', 'straight')),
    'sparseresidential': ('density', ('sparse',)),
    'swimmingpool': ('shape', ('oval', 'rectangular', 'kidney shaped')),
    'tenniscourt': ('color', ('green', 'blue', 'red')),
}


def make_patternnet(
    root: str | Path, images_per_class: int = 12, size: int = 96, seed: int = 0
) -> Path:
    """Writes ``images/CLASS/CLASS001.jpg``, ``patternnet.csv`` and ``PatternCom/ATTRIBUTE.csv``.

    Args:
        root: folder to write into.
        images_per_class: images of each of the 14 classes.
        size: side of an image in pixels.
        seed: of every draw.

    Returns:
        ``root``.
    """
    root, rng = Path(root), np.random.default_rng(seed)
    tables, listed = {}, []
    for number, (name, (attribute, values)) in enumerate(CLASSES.items()):
        (root / 'images' / name).mkdir(parents=True, exist_ok=True)
        for i in range(images_per_class):
            value = values[i % len(values)]
            path = f'images/{name}/{name}{i + 1:03d}.jpg'
            picture = draw_scene(name, value, size, rng)
            cv2.imwrite(str(root / path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
            listed.append(f'{path} {number} {name}\n')
            tables.setdefault(attribute, []).append((Path(path).name, attribute, value))
    (root / 'patternnet.csv').write_text(''.join(listed))
    (root / 'PatternCom').mkdir(exist_ok=True)
    for attribute, rows in tables.items():
        with open(root / 'PatternCom' / f'{attribute}.csv', 'w', newline='') as file:
            csv.writer(file, lineterminator='\n').writerows(rows)
    return root


def draw_scene(name: str, value: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws a scene of a class with a value of an attribute: (size, size, 3) uint8 RGB."""
    side = 96
    base = {
        'harbor': WATER,
        'ferryterminal': WATER,
        'parkinglot': ASPHALT,
        'airplane': ASPHALT,
        'tenniscourt': SAND,
        'basketballcourt': SAND,
    }.get(name, GRASS)
    if name in ('bridge', 'overpass'):
        base = {'over water': WATER, 'over road': ASPHALT, 'over grass': GRASS}[value]
    ground = np.array(base) + rng.normal(0, 6, 3)
    # blotches: coarse noise, enlarged
    blotches = cv2.resize(
        rng.normal(0, 9, (8, 8, 1)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )[..., None]
    img = (ground + blotches).clip(0, 255).astype(np.uint8)
    _PAINTERS[name](img, value, rng)
    turned = cv2.warpAffine(
        img,
        cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(-20, 20)), 1.1),
        (side, side),
        borderMode=cv2.BORDER_REFLECT,
    )
    noisy = turned + rng.normal(0, 5, turned.shape)
    return cv2.resize(
        noisy.clip(0, 255).astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA
    )


def _box(img, x, y, w, h, color, angle=0.0):
    corners = cv2.boxPoints(((float(x), float(y)), (float(w), float(h)), float(angle)))
    cv2.fillPoly(img, [corners.round().astype(np.int32)], color, cv2.LINE_AA)


def _airplane(img, value, rng):
    x, y = rng.integers(42, 55, 2)
    color = COLORS[value]
    _box(img, x, y, 10, 58, color)
    _box(img, x, y - 4, 60, 10, color)
    _box(img, x, y + 25, 24, 6, color)


def _tennis(img, value, rng):
    x, y = rng.integers(44, 53, 2)
    _box(img, x, y, 44, 66, COLORS[value])
    for w, h in ((30, 54), (30, 1)):
        _outline(img, x, y, w, h)


def _outline(img, x, y, w, h):
    cv2.rectangle(
        img, (int(x - w / 2), int(y - h / 2)), (int(x + w / 2), int(y + h / 2)), (240, 240, 240), 1
    )


def _basketball(img, value, rng):
    places = {
        'one': [(48, 48)],
        'two': [(28, 48), (68, 48)],
        'four': [(28, 27), (68, 27), (28, 69), (68, 69)],
    }[value]
    for x, y in places:
        _box(img, x, y, 24, 36, (165, 95, 70))
        _outline(img, x, y, 20, 32)
        cv2.circle(img, (x, y), 4, (240, 240, 240), 1)


def _bridge(img, value, rng):
    y = int(rng.integers(40, 56))
    _box(img, 48, y, 140, 18, (175, 175, 175))
    cv2.line(img, (-10, y), (106, y), (245, 220, 90), 1)
    if value == 'over road':
        cv2.line(img, (48, -10), (48, y - 10), (235, 235, 235), 1)
        cv2.line(img, (48, y + 10), (48, 106), (235, 235, 235), 1)


def _closedroad(img, value, rng):
    cv2.circle(img, tuple(int(v) for v in rng.integers(44, 53, 2)), 24, ASPHALT, 9, cv2.LINE_AA)


def _intersection(img, value, rng):
    x = int(rng.integers(42, 55))
    cv2.line(img, (-10, 48), (106, 48), ASPHALT, 13)
    cv2.line(img, (x, 48 if value == 't shaped' else -10), (x, 106), ASPHALT, 13)


def _residential(img, value, rng):
    step = 16 if value == 'dense' else 44
    for x in range(step // 2, 96, step):
        for y in range(step // 2, 96, step):
            roof = (170, 90, 75) if rng.random() < 0.6 else (150, 150, 155)
            dx, dy = rng.integers(-2, 3, 2)
            _box(img, x + dx, y + dy, 11, 10, roof, rng.uniform(-10, 10))


def _pier(img, value, rng):
    cv2.rectangle(img, (0, 0), (96, 18), (170, 165, 155), -1)
    for x in (24, 48, 72):
        cv2.rectangle(img, (x - 2, 18), (x + 2, 78), (170, 165, 155), -1)
        if value == 'with boats':
            for y in range(28, 76, 11):
                for side in (-9, 9):
                    if rng.random() < 0.85:
                        cv2.ellipse(img, (x + side, y), (6, 3), 0, 0, 360, (245, 245, 245), -1)


def _parking(img, value, rng):
    for x in range(8, 96, 11):
        for y in (24, 70):
            cv2.line(img, (x - 5, y - 11), (x - 5, y + 11), (225, 225, 225), 1)
            if value == 'with cars' and rng.random() < 0.8:
                color = list(COLORS.values())[rng.integers(len(COLORS))]
                _box(img, x, y, 6, 15, color)


def _river(img, value, rng):
    t = np.linspace(-10, 106, 40)
    bend = 20 * np.sin(t / 14 + rng.uniform(0, 6)) if value == 'curved' else 0 * t
    line = np.stack([t, 48 + bend], 1).round().astype(np.int32)
    cv2.polylines(img, [line], False, WATER, 15, cv2.LINE_AA)


def _pool(img, value, rng):
    x, y = (int(v) for v in rng.integers(44, 53, 2))
    _box(img, x, y, 74, 56, (205, 195, 180))
    blue = (75, 190, 215)
    if value == 'rectangular':
        _box(img, x, y, 56, 34, blue)
    elif value == 'oval':
        cv2.ellipse(img, (x, y), (29, 18), 0, 0, 360, blue, -1, cv2.LINE_AA)
    else:
        cv2.circle(img, (x - 14, y + 4), 15, blue, -1, cv2.LINE_AA)
        cv2.circle(img, (x + 15, y + 4), 13, blue, -1, cv2.LINE_AA)
        cv2.ellipse(img, (x, y + 9), (18, 10), 0, 0, 360, blue, -1, cv2.LINE_AA)


_PAINTERS = {
    'airplane': _airplane,
    'basketballcourt': _basketball,
    'bridge': _bridge,
    'closedroad': _closedroad,
    'denseresidential': _residential,
    'ferryterminal': _pier,
    'harbor': _pier,
    'intersection': _intersection,
    'overpass': _bridge,
    'parkinglot': _parking,
    'river': _river,
    'sparseresidential': _residential,
    'swimmingpool': _pool,
    'tenniscourt': _tennis,
}
