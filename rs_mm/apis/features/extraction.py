"""Extraction of the features of an archive, for tools/retrieval/extract.py."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch
from mmengine.logging import print_log

from rs_mm.datasets.split_loaders import split_loader
from rs_mm.datasets.wrapped_datasets import tested_pipeline
from rs_mm.engine.feature_extraction import Archive, archive_collate, extract_features
from rs_mm.errors import ConfigError, MissingFileError
from rs_mm.launch.run import load_weights, open_run
from rs_mm.retrieval.cache import FeatureCache
from rs_mm.unwrap import unwrap


def extract(
    config: str | Path,
    checkpoint: str | None,
    out: str | Path,
    split: str = 'test',
    archive: str | None = None,
    options: dict | list[str] | None = None,
    *,
    shard_size: int = 4096,
    work_dir: str | None = None,
    launcher: str = 'none',
) -> Archive | None:
    """Embeds the images of a split, or of a folder, into a feature cache.

    Call the function again after an interruption, with any number of processes, or after images
    were added or changed.

    Args:
        config: config of an ``ImageEmbedder`` or ``ComposedRetriever``.
        checkpoint: weights; None keeps the initial weights of the config.
        out: folder of the cache, visible to all processes.
        split: ``train`` (with the test pipeline), ``val`` or ``test``.
        archive: instead of a split, a folder with images.
        options: overrides of the config.
        shard_size: images per shard; limits memory and the loss of a killed process.
        work_dir: folder of the logs. Default: ``work_dirs/CONFIG_NAME``.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.

    Returns:
        The features on the first process; None on the others.

    Raises:
        ConfigError: the model does not embed images, or ``out`` holds features of another model.
    """
    if shard_size < 1:
        raise ConfigError(f'--shard-size {shard_size}: a shard holds at least one image.')

    def configure(cfg):
        # every process has the whole model, also with a sharded training strategy; no picture is
        # drawn
        for key in ('runner_type', 'strategy', 'compile', 'custom_hooks'):
            cfg.pop(key, None)
        cfg.load_from = checkpoint or cfg.get('load_from')
        loader.update(_loader(cfg, split, archive))

    loader: dict = {}
    runner = open_run(config, options, configure, work_dir=work_dir, launcher=launcher)
    model = unwrap(runner.model)
    if not hasattr(model, 'encode_image'):
        raise ConfigError(
            f'{type(model).__name__} makes no embeddings: features are extracted by '
            'an ImageEmbedder (OML, GRN) or a ComposedRetriever (WeiCom).'
        )
    load_weights(runner)
    about = dict(config=str(config), checkpoint=str(runner.cfg.load_from), archive=archive or split)
    found = extract_features(
        model,
        runner.build_dataloader(loader),
        out,
        shard_size=shard_size,
        refuse_foreign=True,
        about=about,
    )
    if found is not None:
        count, dims = found.features.shape
        runner.logger.info(f'{out}: features of {count} images, {dims} float32 each')
    return found


def load_features(folder: str | Path, made_by: dict[str, str] | None = None) -> Archive:
    """Opens the features of :func:`extract` as a memory map, without running code.

    Args:
        folder: ``--out`` of the extraction.
        made_by: expected model of the features, see
            :func:`~rs_mm.engine.feature_extraction.identity_of`; None accepts any.

    Raises:
        MissingFileError: the folder holds no finished features.
        ConfigError: the features cannot be used, or another model made them.

    Examples:
        >>> archive = load_features('work_dirs/features/ucm')
        >>> similarity = archive.features @ archive.features[0]
    """
    cache = FeatureCache(folder, made_by)
    if cache.foreign:
        raise ConfigError(
            f'{folder}: {cache.why_rebuilt} than this config and these weights; use '
            'those it was extracted with, or extract again.'
        )
    if cache.why_rebuilt:
        raise ConfigError(
            f'{folder}: the features cannot be used, because {cache.why_rebuilt}; '
            'extract them again.'
        )
    if cache.stored is None:
        raise MissingFileError(
            f'{folder} holds no finished features; run '
            'tools/retrieval/extract.py with --out of that folder.'
        )
    first = next(iter(cache.stored['paths']), '')
    if first and ':' not in first and not os.path.exists(first):
        print_log(
            f'{folder}: the images of these features are not where they were, e.g. {first}; they '
            'can be searched, but not shown. Extract them again from where the images are now.',
            'current',
            logging.WARNING,
        )
    return Archive(
        cache.names(), cache.stored['paths'], torch.from_numpy(cache.features()), cache.unreadable()
    )


def _loader(cfg, split, archive):
    if archive is None:
        loader = split_loader(cfg, split)
        dataset = dict(type='AnyArchive', dataset=loader['dataset'])
    else:
        loader = split_loader(cfg, 'test')
        dataset = dict(
            type='ImageArchive', data_root=str(Path(archive)), pipeline=tested_pipeline(cfg)
        )
    return dict(
        loader,
        dataset=dataset,
        drop_last=False,
        batch_sampler=None,
        sampler=dict(type='ChosenSampler'),
        collate_fn=dict(type=archive_collate),
        pin_memory=torch.cuda.is_available(),
    )
