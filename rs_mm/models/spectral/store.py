"""Eigenvectors on disk: one ``.npy`` per image, and a JSON file with their settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rs_mm.arrays import load_array
from rs_mm.errors import DataError, MissingFileError
from rs_mm.files import atomic_write, write_json

SETTINGS = 'spectral.json'


class EigenvectorStore:
    """A folder with ``NAME.npy``, (K, h, w) float32, and ``spectral.json``.

    Args:
        folder: path of the folder; it is created if needed.
        settings: settings of new eigenvectors; a folder made with other settings is refused. None:
            only reading.

    Raises:
        DataError: the folder's settings differ or cannot be read.
    """

    def __init__(self, folder: str | Path, settings: dict | None = None) -> None:
        self.folder = Path(folder)
        if settings is None:
            return
        path = self.folder / SETTINGS
        if path.is_file():
            try:
                found = dict(json.loads(path.read_text()))
            except (ValueError, TypeError) as error:
                raise DataError(
                    f'{path} cannot be read: {error}; remove the folder or name another.'
                ) from error
            if found != settings:
                different = sorted(
                    k for k in {*found, *settings} if found.get(k) != settings.get(k)
                )
                raise DataError(
                    f'the eigenvectors in {self.folder} were made with other settings '
                    f'({", ".join(different)} differ); remove the folder or name '
                    'another.'
                )
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, settings)

    def path(self, name: str) -> Path:
        """Returns the file of an image."""
        return self.folder / f'{name}.npy'

    def load(self, name: str) -> np.ndarray:
        """Reads the eigenvectors of an image.

        Returns:
            (K, h, w) float32.

        Raises:
            MissingFileError: the file is missing; the message names the command that makes it.
            DataError: the file is damaged.
        """
        try:
            vectors = load_array(self.path(name))
        except FileNotFoundError as error:
            raise MissingFileError(
                f'there is no eigenvector file {self.path(name)}; make it with '
                f'tools/dataset_converters/spectral_eigenvectors.py IMAGES {self.folder}.'
            ) from error
        except DataError as error:
            raise DataError(
                f'the eigenvector file {self.path(name)} cannot be read: {error}; '
                'remove it and make it again.'
            ) from error
        if vectors.ndim != 3:
            raise DataError(
                f'the eigenvector file {self.path(name)} has shape {vectors.shape}, '
                'not (K, h, w); remove it and make it again.'
            )
        return vectors

    def save(self, name: str, vectors: np.ndarray) -> None:
        """Writes the eigenvectors of an image; an interrupted write leaves no file."""
        with atomic_write(self.path(name)) as file:
            np.save(file, vectors.astype(np.float32))
