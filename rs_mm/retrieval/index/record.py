"""The record of an image, or of a window of an image, in an index."""

from __future__ import annotations

from dataclasses import dataclass

#: a footprint outside every box, for an image with unknown coordinates
NOWHERE = (999.0, 999.0, -999.0, -999.0)
_BETWEEN = '\x1f'  # the unit separator of ASCII, which labels do not contain


def joined(labels: tuple[str, ...]) -> str:
    """Joins labels to one text, with a separator before and after each label."""
    return _BETWEEN + ''.join(label + _BETWEEN for label in labels) if labels else ''


@dataclass(frozen=True)
class Record:
    """An entry of an index.

    Attributes:
        name: path relative to the archive, with ``/``.
        path: path of the file.
        x, y, width, height: window in pixels; width 0 means the whole image.
        west, south, east, north: WGS84 bounds in degrees; :data:`NOWHERE` if they are unknown.
        date: ISO date or date and time in UTC, empty if unknown.
        sensor: name of the sensor, or empty.
        labels: labels of the image.
        size: bytes of the file; -1 if it is missing.
        changed: time of change of the file in ns.
        digest: hash of the file's content.
    """

    name: str
    path: str = ''
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    west: float = NOWHERE[0]
    south: float = NOWHERE[1]
    east: float = NOWHERE[2]
    north: float = NOWHERE[3]
    date: str = ''
    sensor: str = ''
    labels: tuple[str, ...] = ()
    size: int = -1
    changed: int = -1
    digest: str = ''

    @property
    def key(self) -> str:
        """The key of the record: its name, and its window if it has one."""
        if not self.width:
            return self.name
        return f'{self.name}#{self.x},{self.y},{self.width},{self.height}'

    @property
    def window(self) -> tuple[int, int, int, int] | None:
        """``(x, y, width, height)`` in pixels, or None for the whole image."""
        return (self.x, self.y, self.width, self.height) if self.width else None

    @property
    def footprint(self) -> tuple[float, float, float, float] | None:
        """``(west, south, east, north)`` in degrees, or None if unknown."""
        return None if self.west > self.east else (self.west, self.south, self.east, self.north)

    @property
    def tags(self) -> str:
        """The labels as one text, for back ends without lists."""
        return joined(self.labels)

    def values(self) -> tuple:
        """Returns key, plain fields and tags, in the order of :data:`COLUMNS`."""
        return tuple(getattr(self, name) for name in COLUMNS)

    @classmethod
    def from_values(cls, values: dict) -> Record:
        """Makes a record from a dict of :meth:`values`, which may have further keys."""
        labels = values.get('labels')
        if labels is None:
            labels = filter(None, values['tags'].split(_BETWEEN))
        return cls(**{name: values[name] for name in PLAIN}, labels=tuple(labels))


TEXTS = ('name', 'path', 'date', 'sensor', 'digest')
INTEGERS = ('x', 'y', 'width', 'height', 'size', 'changed')
NUMBERS = ('west', 'south', 'east', 'north')
PLAIN = (*TEXTS, *INTEGERS, *NUMBERS)
COLUMNS = ('key', *PLAIN, 'tags')
