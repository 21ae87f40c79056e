"""Fitting a PCA to a model's embeddings, for tools/retrieval/fit_pca.py."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import nn
from torch.utils.data import DataLoader

from rs_mm.datasets.multilabel_dataset import build_pipeline
from rs_mm.datasets.split_loaders import split_loader
from rs_mm.datasets.wrapped_datasets import tested_pipeline
from rs_mm.engine.feature_extraction import identity_of
from rs_mm.launch.run import load_weights, open_run
from rs_mm.retrieval import PCA, check_finite


def fit_pca(
    config: str | Path,
    checkpoint: str | None,
    out: str | Path,
    dims: int = 128,
    whiten: bool = True,
    split: str = 'train',
    options: dict | list[str] | None = None,
    work_dir: str | None = None,
) -> PCA:
    """Embeds a split of a config and fits a PCA to the embeddings.

    Args:
        config: config file.
        checkpoint: weights; None keeps the initial weights of the config.
        out: ``.npz`` file to write; a missing suffix is added.
        dims: dimensions to keep.
        whiten: whether every direction gets unit variance.
        split: ``train`` (with the test pipeline), ``val`` or ``test``.
        options: overrides of the config.
        work_dir: folder of the logs.

    Returns:
        The file; ``test_evaluator.pca=dict(path=...)`` takes it.
    """

    def configure(cfg):
        cfg.test_dataloader = split_loader(cfg, split)
        cfg.load_from = checkpoint or cfg.get('load_from')

    runner = open_run(config, options, configure, work_dir=work_dir)
    load_weights(runner)
    cfg = runner.cfg
    vectors = embed(runner.model, runner.build_dataloader(cfg.test_dataloader))
    pca = PCA.fit(vectors, dims, whiten)
    pca.made_by = identity_of(runner.model, build_pipeline(tested_pipeline(cfg)))
    path = pca.save(out)
    print_log(
        f'{path}: {dims} of {vectors.shape[1]} dimensions, fitted to {len(vectors)} '
        f'embeddings of the {split} split',
        'current',
    )
    return pca


@torch.no_grad()
def embed(model: nn.Module, dataloader: DataLoader) -> torch.Tensor:
    """Returns the L2-normalised embeddings (N, D) of all images of a loader, on the CPU."""
    model.eval()
    parts = []
    for batch in dataloader:
        samples = model.test_step(batch)
        parts.append(torch.stack([sample.embedding for sample in samples]).cpu())
        check_finite(parts[-1], [sample.get('name', '?') for sample in samples])
    return torch.cat(parts)
