"""Searching a folder of images by an image, a text, or both."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.runner import set_random_seed
from torch.utils.data import DataLoader

from rs_mm.apis.config import load_config
from rs_mm.datasets.image_archive import ImageArchive
from rs_mm.engine.feature_extraction import ChosenSampler, archive_collate, extract_archive
from rs_mm.errors import ConfigError, MissingFileError
from rs_mm.registry import MODELS
from rs_mm.retrieval.fusion import Fusion, ImageOnly, TextOnly, WeiCom
from rs_mm.visualization.composed import Hit, draw_composed_query


class Found(NamedTuple):
    """One image found: where it is, and its score (a cosine, or WeiCom's value in [0, 1])."""

    path: str
    score: float


def check_query(image, text, lam=0.5, k=1) -> Fusion:
    """The fusion that a query calls for: that of what is given.

    Raises:
        ConfigError: without image and text, or with a lambda outside [0, 1], or k below 1.
        MissingFileError: if there is no such image.
    """
    both = WeiCom(lam)
    if k < 1:
        raise ConfigError(f'k={k}: ask for at least one image.')
    if image is None and not text:
        raise ConfigError('give an image, a text, or both to search by.')
    if image is not None and not Path(image).is_file():
        raise MissingFileError(f'there is no query image {image}.')
    if image is None:
        return TextOnly()
    return both if text else ImageOnly()


class ImageSearch:
    """An archive that can be asked.

    Its features are computed once and kept in ``index_dir``; later only new and changed files are.

    Args:
        archive (str | Path): folder; every image below it is searched.
        config (str | Path): a config of ``configs/weicom``: model, weights and pipeline are used.
        weights (str | None): overrides the config's weights file.
        index_dir (str | Path): below it the features are kept.
        bands (Sequence[int] | None): 0-based bands of a TIFF shown as red, green and blue.
        device (str | None): default: the GPU if there is one.
        options (dict | list[str] | None): overrides of the config.

    Example:
        >>> search = ImageSearch('tiles', 'configs/weicom/weicom_clip-vit-l14_patterncom.py')
        >>> search('pool.jpg', 'oval', lam=0.5, k=10)
    """

    def __init__(self, archive, config, weights=None, index_dir='work_dirs/features', bands=None,
                 device=None, options=None):
        cfg = load_config(config, options)
        if weights is not None:
            cfg.model.init_cfg = dict(type='Pretrained', checkpoint=weights)
        set_random_seed(cfg.get('randomness', {}).get('seed', 0))
        pipeline = cfg.test_dataloader.dataset.pipeline
        if bands is not None:
            pipeline[0].bands = list(bands)
        dataset = ImageArchive(str(archive), pipeline)
        device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        self.model = MODELS.build(cfg.model)
        self.model.init_weights()
        self.model.to(device).eval()
        self.pipeline = dataset.pipeline
        loader = DataLoader(
            dataset, cfg.test_dataloader.batch_size, sampler=ChosenSampler(dataset),
            num_workers=min(cfg.test_dataloader.num_workers, os.cpu_count() or 1),
            collate_fn=archive_collate,
            pin_memory=device.startswith('cuda'))
        self.archive = extract_archive(self.model, loader, index_dir)
        self.features = self.archive.features.to(device)

    def __call__(self, image=None, text=None, lam: float = 0.5, k: int = 10) -> list[Found]:
        """Finds the ``k`` best images.

        Args:
            image (str | Path | None): query image, of any format.
            text (str | None): query text.
            lam (float): share of the text in [0, 1], where both are given.
            k (int): how many.

        Raises:
            ConfigError, MissingFileError: see :func:`check_query`.
            DataError: if the query image cannot be read.
        """
        fusion = check_query(image, text, lam, k)
        none = self.features.new_zeros(len(self.features))
        image_similarity = none if image is None else self.features @ self._embed(image)
        text_similarity = none if not text else self.features @ self.model.encode_text([text])[0]
        scores, rows = fusion(image_similarity, text_similarity).topk(min(k, len(none)))
        return [Found(self.archive.paths[row], score)
                for row, score in zip(rows.tolist(), scores.tolist())]

    def draw(self, found, image=None, text=None, lam: float = 0.5) -> np.ndarray:
        """A sheet of the query and what was found: (H, W, 3) uint8 RGB."""
        name = check_query(image, text, lam).name
        hits = [Hit(self._picture(hit.path), f'{i}. {Path(hit.path).name}\n{hit.score:.4f}')
                for i, hit in enumerate(found, 1)]
        rows = [('' if i else name, hits[i:i + 5]) for i in range(0, len(hits), 5)]
        return draw_composed_query(None if image is None else self._picture(image), text, rows,
                                   f'{len(found)} best of {len(self.archive.names)} images')

    def _embed(self, path):
        data = self.pipeline(dict(img_path=str(path), name=Path(path).name, sample_idx=0))
        return self.model.encode_image(data['inputs'][None].to(self.features.device))[0]

    def _picture(self, path):
        return self.pipeline.transforms[0](dict(img_path=str(path)))['img']
