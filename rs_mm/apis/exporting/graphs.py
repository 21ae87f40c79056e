"""The graphs of each kind of model: its network between preprocessing and post-processing.

Every graph takes normalised images, RGB or the bands of the config, and returns logits or vectors.
:mod:`rs_mm.exported` does tiling, blending, votes and rankings with numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.models.heads.hypercorrelation import (
    StageFeatures,
    correlation_with,
    masked_vectors,
    resize_mask,
)


@dataclass
class Graph:
    """One network to export.

    Attributes:
        name: name of its file.
        module: the network.
        inputs: example inputs by name, in the order that the module takes them.
        outputs: names of the results.
        free: input -> axis -> name of a free size, e.g. ``{'image': {0: 'batch'}}``.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: list[str]
    free: dict[str, dict[int, str]] = field(default_factory=dict)


def task_of(model: nn.Module) -> str:
    """Returns ``change``, ``few_shot``, ``retrieval`` (image and text) or ``embedding``.

    Raises:
        ConfigError: this kind of model cannot be exported.
    """
    if hasattr(model, 'encode_text'):
        return 'retrieval'
    if hasattr(model, 'encode_image'):
        return 'embedding'
    if hasattr(model, 'encode_decode') and hasattr(model, 'backbone_inchannels'):
        return 'change'
    if hasattr(model, 'head') and hasattr(model.head, 'from_correlations'):
        return 'few_shot'
    raise ConfigError(
        f'{type(model).__name__} cannot be exported: it is not a change detector, few-shot '
        'segmenter, embedder or retriever.'
    )


def graphs_of(model: nn.Module, size: tuple[int, int], batch: int = 2) -> list[Graph]:
    """Makes the graphs of a model in evaluation mode.

    Args:
        model: see :func:`task_of`.
        size: height and width of an image, or of a tile.
        batch: images of the example inputs; 1 fixes the batch at one.

    Returns:
        ``model`` for a change detector and an embedder; ``support`` and ``model`` for
        a few-shot segmenter; ``image`` and ``text`` for a retriever.
    """
    free = {0: 'batch'} if batch > 1 else {}
    return _GRAPHS[task_of(model)](model, size, batch, free)


def _change_graphs(model, size, batch, free):
    image = torch.randn(batch, 2 * model.backbone_inchannels, *size)
    return [Graph('model', _ChangeLogits(model), dict(pair=image), ['logits'], dict(pair=free))]


def _embedder_graphs(model, size, batch, free):
    image = torch.randn(batch, model.in_channels, *size)
    module = _Embedding(model)
    with torch.no_grad():
        count = len(module(image))
    names = ['vector', 'score'][:count]
    free = {**free, 2: 'height', 3: 'width'}
    return [Graph('model', module, dict(image=image), names, dict(image=free))]


def _retriever_graphs(model, size, batch, free):
    image = torch.randn(batch, 3, *size)
    tokens = model.tokenize(['a photo of a harbour', 'with ships'] * -(-batch // 2))[:batch]
    return [
        Graph('image', _ImageTower(model), dict(image=image), ['vector'], dict(image=free)),
        Graph('text', _TextTower(model), dict(tokens=tokens), ['vector'], dict(tokens=free)),
    ]


def _few_shot_graphs(model, size, batch, free):
    shots = {0: 'shots'} if batch > 1 else {}
    image = torch.randn(batch, 3, *size)
    mask = (torch.rand(batch, *size) < 0.3).float()
    support = _Support(model)
    with torch.no_grad():
        vectors = support(image, mask)
        sizes = [maps[0].shape[2:] for maps in model.backbone(image[:1])][::-1]
    names = [f'support_{i}' for i in range(len(vectors))]
    query = _Query(model, [tuple(s) for s in sizes], size)
    return [
        Graph(
            'support', support, dict(image=image, mask=mask), names, dict(image=shots, mask=shots)
        ),
        Graph(
            'model',
            query,
            dict(query=torch.randn(1, 3, *size), **dict(zip(names, vectors))),
            ['logits'],
            dict.fromkeys(names, shots),
        ),
    ]


_GRAPHS = dict(
    change=_change_graphs,
    embedding=_embedder_graphs,
    retrieval=_retriever_graphs,
    few_shot=_few_shot_graphs,
)


class _ChangeLogits(nn.Module):
    """Pairs (N, 2 * C, H, W), date 1 then date 2, to logits (N, classes, H, W)."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pair):
        return self.model.encode_decode(pair, None)


class _Embedding(nn.Module):
    """Images (N, C, H, W) to vectors (N, D) of length 1 and, with a classifier, scores (N, L)."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        output = self.model.head(self.model.extract_feat(image))
        embedding = F.normalize(output.embedding)
        return (embedding,) if output.logits is None else (embedding, output.logits.sigmoid())


class _ImageTower(nn.Module):
    """Images (N, 3, H, W) to vectors (N, D) of length 1."""

    def __init__(self, model):
        super().__init__()
        self.clip = model.clip

    def forward(self, image):
        features = self.clip.encode_image(image)
        return features / features.norm(dim=-1, keepdim=True)


class _TextTower(nn.Module):
    """Token ids (N, context) int64 to vectors (N, D) of length 1."""

    def __init__(self, model):
        super().__init__()
        self.clip = model.clip

    def forward(self, tokens):
        features = self.clip.encode_text(tokens)
        return features / features.norm(dim=-1, keepdim=True)


class _Support(nn.Module):
    """Supports (K, 3, H, W) and masks (K, H, W) to masked vectors of every stage, deepest first.

    Each is (K, L, h * w, C): L maps of h x w positions.
    """

    def __init__(self, model):
        super().__init__()
        self.backbone = model.backbone

    def forward(self, image, mask):
        found = []
        for maps in self.backbone(image)[::-1]:
            stage = StageFeatures(maps)
            found.append(masked_vectors(stage.vectors, stage.norm, resize_mask(mask, stage.size)))
        return tuple(found)


class _Query(nn.Module):
    """A query (1, 3, H, W) and the vectors of K supports to logits (K, 2, H, W)."""

    def __init__(self, model, sizes, query_size):
        super().__init__()
        self.backbone, self.head = model.backbone, model.head
        self.sizes, self.query_size = sizes, query_size

    def forward(self, query, *support):
        stages = [StageFeatures(maps) for maps in self.backbone(query)[::-1]]
        correlations = [
            correlation_with(stage, vectors[None], size)
            for stage, vectors, size in zip(stages, support, self.sizes)
        ]
        shape = (1, support[0].shape[0])
        return self.head.from_correlations(stages, correlations, shape, self.query_size).logits[0]
