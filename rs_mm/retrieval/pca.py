"""PCA with whitening: a linear compression of embeddings for cosine search."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rs_mm.arrays import load_arrays
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.files import atomic_write

from .similarity import normalized


@dataclass
class PCA:
    """The compression ``normalize((x - mean) @ projection)``.

    Attributes:
        mean: (D,) float32.
        projection: (D, dims) float32, principal directions, divided by their standard deviation
            with whitening.
        made_by: model of the vectors that the PCA was fitted to, see
            :func:`~rs_mm.engine.feature_extraction.identity_of`; empty if unknown.
    """

    mean: Tensor
    projection: Tensor
    made_by: dict[str, str] = field(default_factory=dict)

    @classmethod
    def fit(cls, vectors: Tensor, dims: int, whiten: bool = True, chunk: int = 8192) -> PCA:
        """Fits a PCA to (N, D) vectors; the covariance is summed in double precision, in chunks.

        Raises:
            ConfigError: ``dims`` is larger than D or than N - 1, the number of directions N
                vectors span.
        """
        count, width = vectors.shape
        if not 0 < dims <= min(width, count - 1):
            raise ConfigError(
                f'pca.dims is {dims}, but {count} vectors of {width} dimensions '
                f'have {min(width, count - 1)} principal directions at most; use a '
                'smaller one.'
            )
        mean = torch.stack([part.double().sum(0) for part in vectors.split(chunk)]).sum(0) / count
        covariance = torch.zeros(width, width, dtype=torch.float64, device=vectors.device)
        for part in vectors.split(chunk):
            centred = part.double() - mean
            covariance += centred.t() @ centred
        variance, directions = torch.linalg.eigh(covariance / (count - 1))
        variance, directions = variance.flip(0)[:dims], directions.flip(1)[:, :dims]
        # the sign of a direction is arbitrary; its largest entry is made positive
        largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
        directions = directions * largest.sign()
        if whiten:
            directions = directions / variance.clamp(min=1e-12 * float(variance[0])).sqrt()
        return cls(mean.float(), directions.float())

    def __call__(self, vectors: Tensor) -> Tensor:
        """(N, D) -> (N, dims), L2-normalised."""
        if vectors.shape[1] != len(self.mean):
            raise DataError(
                f'the PCA was fitted to {len(self.mean)} dimensions, the embeddings '
                f'have {vectors.shape[1]}; fit it to this model.'
            )
        return normalized((vectors - self.mean) @ self.projection)

    def to(self, device: torch.device | str) -> PCA:
        """Returns the PCA on another device."""
        return replace(self, mean=self.mean.to(device), projection=self.projection.to(device))

    def save(self, path: str | Path) -> Path:
        """Writes a ``.npz`` file and returns its path; a missing suffix is added."""
        path = Path(path)
        if path.suffix != '.npz':
            path = path.with_name(f'{path.name}.npz')
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            np.savez(
                file,
                mean=self.mean.cpu().numpy(),
                projection=self.projection.cpu().numpy(),
                made_by=json.dumps(self.made_by),
            )
        return path

    @classmethod
    def load(cls, path: str | Path, made_by: Mapping[str, str] | None = None) -> PCA:
        """Reads a file of :meth:`save`.

        Args:
            path: the file.
            made_by: model of the vectors to compress. A file without its model is accepted.

        Raises:
            ConfigError: the PCA was fitted to vectors of another model.
            MissingFileError: the file does not exist.
            DataError: the file is not a PCA.
        """
        if not Path(path).is_file():
            raise MissingFileError(
                f'there is no PCA file {path}; make it with tools/retrieval/fit_pca.py.'
            )
        try:
            data = load_arrays(path)
            mean, projection = (np.asarray(data[key], np.float32) for key in ('mean', 'projection'))
            if projection.ndim != 2 or mean.shape != projection.shape[:1]:
                raise ValueError('shapes')
            pca = cls(
                torch.from_numpy(mean),
                torch.from_numpy(projection),
                dict(json.loads(str(data['made_by']))) if 'made_by' in data else {},
            )
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise DataError(
                f'{path} is not a PCA file with mean and projection; make it with '
                'tools/retrieval/fit_pca.py.'
            ) from error
        other = [
            key for key, value in (made_by or {}).items() if pca.made_by.get(key, value) != value
        ]
        if other:
            raise ConfigError(
                f'{path}: this PCA was fitted to embeddings that another '
                f'{" and ".join(other)} made; fit it again with this config and '
                'checkpoint by tools/retrieval/fit_pca.py.'
            )
        return pca
