"""The examples of a class, in the form of the model's input."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from rs_mm.checkpoint import load_file
from rs_mm.errors import CheckpointError
from rs_mm.files import atomic_write

_KIND = 'rs_mm few-shot supports'


@dataclass
class Supports:
    """K images with masks.

    Attributes:
        images: (K, 3, h, w) uint8 RGB, prepared by the pipeline of the config.
        masks: (K, h, w) uint8, 1 where an image shows the class.
        names: names of the images.
        sizes: (height, width) of each image before it was prepared.
        pixel_metres: ground size of a pixel of each image in metres, None if it is unknown.
        class_name: name of the class.
    """

    images: Tensor
    masks: Tensor
    names: list[str]
    sizes: list[tuple[int, int]]
    pixel_metres: list[float | None]
    class_name: str = 'object'

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of a typical support, the median of all."""
        heights, widths = zip(*self.sizes)
        return sorted(heights)[len(heights) // 2], sorted(widths)[len(widths) // 2]

    @property
    def metres(self) -> float | None:
        """The ground size of a pixel in metres, the median of the known ones; None if none is
        known."""
        known = sorted(value for value in self.pixel_metres if value is not None)
        return known[len(known) // 2] if known else None

    def save(self, path: str | Path) -> None:
        """Writes a file that :meth:`load` reads; an interrupted write leaves no file."""
        with atomic_write(path) as file:
            torch.save(dict(asdict(self), kind=_KIND), file)

    @classmethod
    def load(cls, path: str | Path) -> Supports:
        """Reads a file of :meth:`save`.

        Raises:
            MissingFileError, CheckpointError: the file does not exist, or holds something else.
        """
        found = load_file(path)
        if not isinstance(found, dict) or found.pop('kind', None) != _KIND:
            raise CheckpointError(f'{path} holds no few-shot supports; write it with save().')
        try:
            return cls(**found)
        except TypeError as error:  # a part is missing, or one too many
            raise CheckpointError(f'{path} is damaged ({error}); write it again.') from error
