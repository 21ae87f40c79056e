"""Drawing one place at two dates: terrain, roads, trees, and buildings that appear or disappear."""

from __future__ import annotations

import cv2
import numpy as np

# RGB: two seasons of each ground cover
_GROUNDS = (
    ((96, 118, 70), (138, 126, 88)),
    ((118, 128, 84), (150, 136, 104)),
    ((84, 104, 74), (112, 110, 82)),
)
_ROOFS = (
    (168, 92, 74),
    (150, 150, 154),
    (196, 190, 180),
    (126, 96, 80),
    (112, 118, 130),
    (210, 206, 202),
)
_ROAD, _TREE = (128, 126, 122), (52, 76, 44)
_SHADOW = 0.45


def draw_pair(size: int, rng: np.random.Generator, change_share: float = 0.9) -> tuple:
    """Draws a bitemporal pair.

    Light, season, shadows, haze and small registration errors differ everywhere and are not
    labelled. Buildings that appear or disappear are labelled.

    Args:
        size: side in pixels; from 128 on, buildings keep their size in pixels.
        rng: source of every draw.
        change_share: share of the pairs in which something changes.

    Returns:
        Date 1 and date 2, (size, size, 3) uint8 RGB, and the label (size, size) uint8, 255 where a
        building appeared or disappeared.
    """
    ground = _ground(size, rng)
    roads = [_road(size, rng) for _ in range(rng.integers(1, 3))]
    road_mask = np.zeros((size, size), np.uint8)
    for points, width in roads:
        cv2.polylines(road_mask, [points], False, 1, width + max(2, width // 2))
    buildings = _place_buildings(size, road_mask, rng)
    trees = _place_trees(size, road_mask, rng)
    fate = rng.choice(['stays', 'comes', 'goes'], len(buildings), p=[0.45, 0.38, 0.17])
    if rng.random() > change_share:
        fate[:] = 'stays'
    elif len(fate) and (fate == 'stays').all():
        fate[0] = 'comes'
    images = [
        _render(ground, roads, trees, [b for b, f in zip(buildings, fate) if f != absent], rng)
        for absent in ('comes', 'goes')
    ]
    label = np.zeros((size, size), np.uint8)
    for building, f in zip(buildings, fate):
        if f != 'stays':
            cv2.fillConvexPoly(label, building['outline'], 255)
    return images[0], images[1], label


def _noise(size, cell, rng):
    """Smooth noise in [0, 1] whose features are about ``cell`` pixels wide."""
    side = max(2, size // cell + 2)
    return cv2.resize(
        rng.random((side, side), np.float32), (size, size), interpolation=cv2.INTER_CUBIC
    )


def _ground(size, rng):
    """Returns parcels (the cover at each place), texture, and the moisture that controls the
    season."""
    seeds = rng.uniform(0, size, (max(3, size // 40), 2)).astype(np.float32)
    yy, xx = np.mgrid[:size, :size].astype(np.float32)
    wobble = 20 * _noise(size, 48, rng)
    distance = np.hypot(
        yy[None] + wobble - seeds[:, 0, None, None], xx[None] + wobble - seeds[:, 1, None, None]
    )
    parcel = distance.argmin(0)
    return dict(
        cover=rng.integers(0, len(_GROUNDS), len(seeds))[parcel],
        brightness=rng.uniform(0.85, 1.15, len(seeds))[parcel].astype(np.float32),
        texture=sum(
            w * (_noise(size, c, rng) - 0.5)
            for c, w in ((64, 0.25), (16, 0.2), (5, 0.15), (2, 0.12))
        ),
        moisture=_noise(size, 80, rng),
    )


def _road(size, rng):
    """Returns a polyline from border to border, and its width."""
    along = np.linspace(-10, size + 10, 8)
    across = rng.uniform(0.15, 0.85) * size + np.cumsum(rng.normal(0, 0.03 * size, 8))
    points = np.stack([along, across], 1)
    if rng.random() < 0.5:
        points = points[:, ::-1]
    return points.round().astype(np.int32), max(2, int(rng.integers(6, 12) * min(1, size / 128)))


def _place_buildings(size, road_mask, rng):
    """Returns at least one rotated rectangle; rectangles touch neither each other nor a road."""
    taken, buildings = road_mask.copy(), []
    heading, scale = rng.uniform(0, 90), min(1, size / 128)
    wanted = max(4, 12 * size * size // 256**2)
    for attempt in range(12 * wanted):
        w, h = scale * rng.uniform(14, 40), scale * rng.uniform(14, 32)
        centre = rng.uniform(8, size - 8, 2)
        angle = heading + rng.normal(0, 4)
        box = cv2.boxPoints((tuple(centre), (w, h), angle))
        room = cv2.boxPoints((tuple(centre), (w + 12 * scale, h + 12 * scale), angle))
        area = np.zeros_like(taken)
        cv2.fillConvexPoly(area, room.round().astype(np.int32), 1)
        crowded = not buildings and attempt > 10 * wanted
        if (taken & area).any() and not crowded:
            continue
        taken |= area
        buildings.append(
            dict(
                outline=box.round().astype(np.int32),
                corners=box,
                roof=np.array(_ROOFS[rng.integers(len(_ROOFS))], np.float32),
                height=rng.uniform(3, 9),
                gable=rng.random() < 0.7,
            )
        )
        if len(buildings) == wanted:
            break
    return buildings


def _place_trees(size, road_mask, rng):
    trees = []
    for _ in range(int(rng.integers(10, 40) * size * size / 256**2)):
        x, y = rng.integers(0, size, 2)
        if not road_mask[y, x]:
            trees.append((int(x), int(y), int(rng.integers(2, 6)), rng.uniform(0.7, 1.2)))
    return trees


def _render(ground, roads, trees, buildings, rng):
    """Draws one date, with its own season, sun, haze and registration error."""
    season = np.clip(rng.uniform(0, 1) + 0.4 * (ground['moisture'] - 0.5), 0, 1)[..., None]
    colours = np.array(_GROUNDS, np.float32)[ground['cover']]
    image = (1 - season) * colours[..., 0, :] + season * colours[..., 1, :]
    image = image * (ground['brightness'] * (1 + ground['texture']))[..., None]
    image = np.ascontiguousarray(image, np.float32)
    for points, width in roads:
        cv2.polylines(image, [points], False, _ROAD, width, cv2.LINE_AA)
        cv2.polylines(image, [points], False, (168, 166, 160), 1, cv2.LINE_AA)
    sun = rng.uniform(0, 2 * np.pi)
    slant = rng.uniform(0.5, 1.1)
    direction = slant * np.array([np.cos(sun), np.sin(sun)], np.float32)
    shadow = np.zeros(image.shape[:2], np.uint8)
    for x, y, radius, _ in trees:
        offset = (direction * radius).round().astype(int)
        cv2.circle(shadow, (x + int(offset[0]), y + int(offset[1])), radius, 1, -1)
    for b in buildings:
        corners = np.concatenate([b['corners'], b['corners'] + direction * b['height']])
        cv2.fillConvexPoly(shadow, cv2.convexHull(corners.round().astype(np.int32)), 1)
    soft = cv2.GaussianBlur(shadow.astype(np.float32), (0, 0), 0.8)[..., None]
    image *= 1 - (1 - _SHADOW) * soft
    for x, y, radius, tint in trees:
        cv2.circle(image, (x, y), radius, tuple(tint * c for c in _TREE), -1, cv2.LINE_AA)
    for b in buildings:
        _draw_roof(image, b, direction)
    return _expose(image, rng)


def _draw_roof(image, building, direction):
    """Draws two slopes, with the slope that faces the sun brighter, and an eave line."""
    corners, roof = building['corners'], building['roof']
    cv2.fillConvexPoly(image, building['outline'], tuple(roof.tolist()), cv2.LINE_AA)
    if building['gable']:
        first = np.linalg.norm(corners[1] - corners[0]) < np.linalg.norm(corners[2] - corners[1])
        a, b, c, d = corners if first else np.roll(corners, 1, axis=0)
        half = np.array([a, (a + b) / 2, (c + d) / 2, d])  # a-b and c-d are the short sides
        facing = float(np.dot(a - b, direction) / (np.linalg.norm(a - b) + 1e-6))
        shade = np.clip(roof * (1 - 0.22 * facing), 0, 255)
        cv2.fillConvexPoly(image, half.round().astype(np.int32), tuple(shade.tolist()), cv2.LINE_AA)
    cv2.polylines(image, [building['outline']], True, tuple((roof * 0.72).tolist()), 1, cv2.LINE_AA)


def _expose(image, rng):
    """Applies effects of sensor and air: colour cast, contrast, haze, a shift below one pixel,
    blur, noise."""
    size = image.shape[0]
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3)
    haze = rng.uniform(0, 0.15)
    image = (1 - haze) * image * gain + haze * 200
    image = image * (1 + 0.15 * (_noise(size, size, rng)[..., None] - 0.5))
    shift = np.float32([[1, 0, rng.uniform(-0.7, 0.7)], [0, 1, rng.uniform(-0.7, 0.7)]])
    image = cv2.warpAffine(
        image.astype(np.float32), shift, (size, size), borderMode=cv2.BORDER_REFLECT
    )
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.8))
    image = image + rng.normal(0, 3, image.shape)
    return np.clip(image, 0, 255).round().astype(np.uint8)
