"""Searching images by an image, a text, or both."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.dataset import Compose
from mmengine.runner import load_checkpoint, set_random_seed
from torch.utils.data import DataLoader

from rs_mm.apis.features import load_features
from rs_mm.datasets.bigearthnet.dataset import LoadBigEarthNetPatch, read_true_colour
from rs_mm.datasets.image_archive import ImageArchive
from rs_mm.datasets.multilabel_dataset import build_pipeline
from rs_mm.datasets.transforms.clip_images import LoadRGBImage
from rs_mm.datasets.wrapped_datasets import tested_pipeline
from rs_mm.engine.feature_extraction import (
    ChosenSampler,
    archive_collate,
    extract_archive,
    identity_of,
)
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.launch.checkpoint_fit import check_checkpoint
from rs_mm.launch.config import load_config
from rs_mm.launch.device import pick_device
from rs_mm.registry import MODELS
from rs_mm.retrieval.fusion import Fusion, ImageOnly, TextOnly, WeiCom
from rs_mm.visualization.composed_sheet import Hit, draw_composed_query


class Found(NamedTuple):
    """One image found: where it is, and its score (a cosine, or WeiCom's value in [0, 1])."""

    path: str
    score: float


def check_query(image, text, lam=0.5, k=1, names=()) -> Fusion:
    """The fusion that a query calls for: that of what is given.

    Raises:
        ConfigError: without image and text, or with a lambda outside [0, 1], or k below 1.
        MissingFileError: if ``image`` is neither a file nor one of ``names``.
    """
    both = WeiCom(lam)
    if k < 1:
        raise ConfigError(f'k={k}: ask for at least one image.')
    if image is None and not text:
        raise ConfigError('give an image, a text, or both to search by.')
    if image is not None and str(image) not in names and not Path(image).is_file():
        raise MissingFileError(f'there is no query image {image}.')
    if image is None:
        return TextOnly()
    return both if text else ImageOnly()


class ImageSearch:
    """An archive that can be asked.

    Its features are computed once and kept in ``index_dir``, and later only new and changed files
    are; or they are those that ``tools/retrieval/extract.py`` has written.

    Args:
        archive (str | Path | None): folder; every image below it is searched.
        config (str | Path): a config of ``configs/weicom`` (image and text), or of ``configs/oml``
            or ``configs/grn`` (image): model, weights and pipeline are used.
        weights (str | None): weights file or checkpoint instead of the config's.
        index_dir (str | Path): below it the features of ``archive`` are kept.
        bands (Sequence[int] | None): 0-based bands of a TIFF shown as red, green and blue.
        device (str | None): default: the GPU if there is one.
        options (dict | list[str] | None): overrides of the config.
        features (str | Path | None): instead of ``archive``: a folder of extracted features.

    Raises:
        ConfigError: if ``features`` are of another model, or the model needs weights.

    Examples:
        >>> search = ImageSearch('tiles', 'configs/weicom/weicom_clip-vit-l14_patterncom.py')
        >>> search('pool.jpg', 'oval', lam=0.5, k=10)
    """

    def __init__(
        self,
        archive,
        config,
        weights=None,
        index_dir='work_dirs/features',
        bands=None,
        device=None,
        options=None,
        features=None,
    ):
        if (archive is None) == (features is None):
            raise ConfigError(
                'search either a folder of images (--archive) or extracted features (--features).'
            )
        cfg = load_config(config, options)
        pipeline = tested_pipeline(cfg)
        if bands is not None:
            pipeline[0].bands = list(bands)
        self.pipeline = Compose(build_pipeline(pipeline))
        first = self.pipeline.transforms[0]
        self.reader = first if isinstance(first, LoadRGBImage) else LoadRGBImage(bands)
        self.of_patches = isinstance(first, LoadBigEarthNetPatch)
        self.device = pick_device(device)
        self.model = _load_model(cfg, weights).to(self.device).eval()
        if features is not None:
            made_by = identity_of(self.model, self.pipeline)
            self.archive = load_features(features, made_by)
        else:
            self.archive = extract_archive(
                self.model, _loader(cfg, archive, pipeline, self.device), index_dir
            )
        self.features = self.archive.features.to(self.device)

    def __call__(self, image=None, text=None, lam: float = 0.5, k: int = 10) -> list[Found]:
        """Finds the ``k`` best images.

        Args:
            image (str | Path | None): query image, of any format, or the name of an image of the
                archive.
            text (str | None): query text.
            lam (float): share of the text in [0, 1], where both are given.
            k (int): how many.

        Raises:
            ConfigError, MissingFileError: see :func:`check_query`; also for a text where the model
                takes none.
            DataError: if the query image cannot be read, or the similarities are NaN.
        """
        fusion = check_query(image, text, lam, k, self.archive.names)
        if text and not hasattr(self.model, 'encode_text'):
            raise ConfigError(
                f'{type(self.model).__name__} takes no text; search by an image, or '
                'by a config of configs/weicom.'
            )
        none = self.features.new_zeros(len(self.features))
        image_similarity = none if image is None else self.features @ self._embed(image)
        text_similarity = none if not text else self.features @ self.model.encode_text([text])[0]
        scores, rows = fusion(image_similarity, text_similarity).topk(min(k, len(none)))
        if not scores.isfinite().all():  # NaN comes first
            raise DataError(
                f'the similarity to {self.archive.paths[int(rows[0])]} is '
                f'{float(scores[0])}; are the weights damaged, or did their training '
                'diverge?'
            )
        return [
            Found(self.archive.paths[row], score)
            for row, score in zip(rows.tolist(), scores.tolist())
        ]

    def draw(self, found, image=None, text=None, lam: float = 0.5) -> np.ndarray:
        """A sheet of the query and what was found: (H, W, 3) uint8 RGB."""
        names = self.archive.names
        name = check_query(image, text, lam, names=names).name
        if image is not None and not Path(image).is_file():
            image = self.archive.paths[names.index(str(image))]
        hits = [
            Hit(self._picture(hit.path), f'{i}. {Path(hit.path).name}\n{hit.score:.4f}')
            for i, hit in enumerate(found, 1)
        ]
        rows = [('' if i else name, hits[i : i + 5]) for i in range(0, len(hits), 5)]
        return draw_composed_query(
            None if image is None else self._picture(image),
            text,
            rows,
            f'{len(found)} best of {len(self.archive.names)} images',
        )

    def _embed(self, image):
        if not Path(image).is_file():
            return self.features[self.archive.names.index(str(image))]
        data = self.pipeline(dict(img_path=str(image), name=Path(image).name, sample_idx=0))
        data = self.model.data_preprocessor(dict(inputs=data['inputs'][None]))
        return self.model.encode_image(data['inputs'])[0]

    def _picture(self, path):
        if self.of_patches:
            return read_true_colour(str(path))
        return self.reader(dict(img_path=str(path)))['img']


def _load_model(cfg, weights):
    set_random_seed(cfg.get('randomness', {}).get('seed', 0))
    free = cfg.get('training_free')
    if free and weights is not None:
        cfg.model.init_cfg = dict(type='Pretrained', checkpoint=weights)
    weights = weights or cfg.get('load_from')
    if not free and not weights:
        raise ConfigError('give --weights: the checkpoint of the model that this config trains.')
    model = MODELS.build(cfg.model)
    if free:
        model.init_weights()
    else:
        check_checkpoint(model, weights)
        load_checkpoint(model, weights, map_location='cpu', logger='silent')
    return model


def _loader(cfg, archive, pipeline, device):
    dataset = ImageArchive(str(archive), pipeline)
    return DataLoader(
        dataset,
        cfg.test_dataloader.batch_size,
        sampler=ChosenSampler(dataset),
        num_workers=min(cfg.test_dataloader.num_workers, os.cpu_count() or 1),
        collate_fn=archive_collate,
        pin_memory=device.startswith('cuda'),
    )
