"""The graph of deep spectral segmentation and its smoothest eigenvectors.

Source: Melas-Kyriazi et al., "Deep Spectral Methods", CVPR 2022, sec. 3; the colour graph is the
one of KNN matting (Chen et al., 2013).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.spatial import cKDTree
from torch import Tensor


class LowRankAffinity:
    """``U G U'`` for enlarged features: U enlarges, G holds the products of the small grid.

    Enlarging is linear with weights that are never negative. If no product of two positions of the
    small grid is negative, no product of enlarged positions is. Then the threshold at zero changes
    nothing, and the N x N matrix is not needed: a product with a vector takes O(N + M^2) for M
    positions of the small grid.
    """

    def __init__(self, enlarge: np.ndarray, gram: np.ndarray) -> None:
        self.enlarge, self.gram = enlarge, gram

    def __matmul__(self, x):
        return self.enlarge @ (self.gram @ (self.enlarge.T @ x))


def feature_affinity(
    features: Tensor, grid: tuple[int, int], fine_grid: tuple[int, int]
) -> LowRankAffinity | np.ndarray:
    """Computes inner products of normalised, enlarged features; negatives are 0, the largest entry
    is 1.

    Args:
        features: (M, C) of the M = h * w positions, row by row.
        grid: (h, w).
        fine_grid: (H, W) of the enlarged grid, N positions in all.

    Returns:
        An operator to multiply with; an (N, N) float32 array only if the threshold at zero needs
        it.
    """
    unit = F.normalize(features.double(), dim=1).numpy()
    enlarge = sp.kron(_enlarging(grid[0], fine_grid[0]), _enlarging(grid[1], fine_grid[1]), 'csr')
    gram = unit @ unit.T
    if gram.min() >= 0:
        # the largest product of any two vectors is that of a vector with itself
        largest = _diagonal(enlarge, gram).max()
        return LowRankAffinity(enlarge, gram / largest)
    fine = (enlarge @ unit).astype(np.float32)
    dense = fine @ fine.T
    np.maximum(dense, 0, out=dense)
    dense /= np.square(fine.astype(np.float64)).sum(1).max()
    return dense


def _enlarging(old, new):
    """Returns the (new, old) sparse matrix of a linear resampling of one axis, corners not
    aligned."""
    weights = F.interpolate(
        torch.eye(old, dtype=torch.double)[None], new, mode='linear', align_corners=False
    )[0]
    return sp.csr_matrix(weights.T.numpy())


def _diagonal(enlarge, gram):
    """Returns the diagonal of ``U G U'`` from the few nonzero entries of each row of U."""
    width = int(np.diff(enlarge.indptr).max())
    rows = np.repeat(np.arange(enlarge.shape[0]), np.diff(enlarge.indptr))
    place = np.arange(enlarge.nnz) - enlarge.indptr[rows]
    index = np.zeros((enlarge.shape[0], width), int)
    weight = np.zeros((enlarge.shape[0], width))
    index[rows, place], weight[rows, place] = enlarge.indices, enlarge.data
    products = gram[index[:, :, None], index[:, None, :]]
    return np.einsum('ni,nij,nj->n', weight, products, weight)


def colour_affinity(
    image: np.ndarray,
    grid: tuple[int, int],
    neighbours: Sequence[int] = (20, 10),
    distance_weights: Sequence[float] = (2.0, 0.1),
) -> sp.csr_matrix:
    """Links positions of similar colour that are not too far apart.

    Args:
        image: (H, W, 3) uint8 RGB.
        grid: (h, w) it is resized to, bilinear.
        neighbours: number of neighbours for each weight, including the point itself.
        distance_weights: weight of a distance across the whole image, relative to colours in [0,
            1].

    Returns:
        A symmetric (N, N) csr_matrix; each pair that is found adds 1 in both directions.
    """
    small = Image.fromarray(image).resize(grid[::-1], Image.Resampling.BILINEAR)
    colours = np.asarray(small).reshape(-1, 3) / 255
    n = len(colours)
    x = np.tile(np.linspace(0, 1, grid[1]), grid[0])
    y = np.repeat(np.linspace(0, 1, grid[0]), grid[1])
    total = sp.csr_matrix((n, n))
    for k, weight in zip(neighbours, distance_weights):
        # float32, because float64 orders a few ties differently
        points = np.column_stack([colours, weight * x, weight * y]).astype(np.float32)
        found = cKDTree(points).query(points, min(k, n))[1].reshape(n, -1)
        rows = np.repeat(np.arange(n), found.shape[1])
        links = sp.csr_matrix((np.ones(found.size), (rows, found.ravel())), shape=(n, n))
        total = total + links + links.T
    return total


def smallest_eigenvectors(
    affinity: LowRankAffinity | np.ndarray,
    colours: sp.csr_matrix,
    colour_weight: float,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the smoothest functions on the graph: solutions of (D - W) v = mu D v with smallest
    mu.

    They are the largest eigenvectors of D^-1/2 W D^-1/2, so a few dozen products with W find them
    (Lanczos, fixed start); nothing is factorised.

    Args:
        affinity: see :func:`feature_affinity`.
        colours: see :func:`colour_affinity`.
        colour_weight: W = affinity + colour_weight * colours.
        count: K.

    Returns:
        Mu (K,), ascending from about 0, and v (K, N), float32, each
        of unit D-norm. A row with more than half, but not all, of its entries positive is negated.
    """
    n = colours.shape[0]
    dense = isinstance(affinity, np.ndarray)

    def multiply(x):
        # a float64 vector would turn the whole matrix into float64
        product = affinity @ (x.astype(np.float32) if dense else x)
        return product + colour_weight * (colours @ x)

    degree = np.asarray(affinity.sum(1, dtype=np.float64) if dense else affinity @ np.ones(n))
    degree = degree + colour_weight * (colours @ np.ones(n))
    degree[degree < 1e-12] = 1
    scale = 1 / np.sqrt(degree)
    operator = LinearOperator((n, n), lambda x: scale * multiply(scale * x.ravel()), dtype=float)
    start = np.random.RandomState(0).uniform(-1, 1, n)
    values, vectors = eigsh(
        operator,
        count,
        which='LA',
        v0=start,
        tol=1e-7 if dense else 1e-9,
        ncv=min(n, max(4 * count, 32)),
    )
    order = np.argsort(-values)
    rows = (scale[:, None] * vectors[:, order]).T
    positive = (rows > 0).mean(1)
    rows[(positive > 0.5) & (positive < 1)] *= -1
    return (1 - values[order]).astype(np.float32), rows.astype(np.float32)
