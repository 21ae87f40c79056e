"""The features of an archive, from its cache or computed once by all processes."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.logging import MMLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from rs_mm.datasets.pipeline_identity import describe
from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import DATA_SAMPLERS
from rs_mm.retrieval import check_finite
from rs_mm.retrieval.cache import MISSING, FeatureCache
from rs_mm.retrieval.shards import File, drop_shards, read_shards, write_shard
from rs_mm.unwrap import unwrap

#: seconds after which what is computed is stored, so that a killed process loses no more
KEEP_EVERY = 60


@DATA_SAMPLERS.register_module()
class ChosenSampler(Sampler):
    """A sampler of the indices in :attr:`indices`, in order; initially all indices.

    Args:
        dataset: the dataset.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        self.indices = range(len(dataset))

    def __iter__(self) -> Iterator[int]:
        return iter(map(int, self.indices))

    def __len__(self) -> int:
        return len(self.indices)


def archive_collate(batch: list[dict]) -> dict:
    """Collates the readable images to one tensor, which one copy brings to the device.

    Returns:
        ``inputs``, (n, C, H, W) or None if no image is readable, and the ``data_samples`` of all
        images; unreadable images have ``unreadable``.
    """
    images = [item['inputs'] for item in batch if item['inputs'] is not None]
    return dict(
        inputs=torch.stack(images) if images else None,
        data_samples=[item['data_samples'] for item in batch],
    )


class Archive(NamedTuple):
    """The features of the readable images of an archive.

    ``names`` (N strings), ``paths`` (N strings), ``features`` (N, D) float32 of length 1,
    ``unreadable`` maps the names of the other images to the reason.
    """

    names: list[str]
    paths: list[str]
    features: Tensor
    unreadable: dict[str, str]


def extract_archive(model: nn.Module, loader: DataLoader, cache_dir: str | Path) -> Archive | None:
    """Returns the features of an archive, in one folder for each model and preprocessing.

    Args:
        model: see :func:`extract_features`.
        loader: see :func:`extract_features`.
        cache_dir: folder that all processes see.
    """
    archive = Path(loader.dataset.data_root).resolve()
    # with the bands and all preprocessing, because one setting must not replace the cache of
    # another
    made_by = identity_of(model, loader.dataset.pipeline)
    key = hashlib.sha256(f'{archive} {sorted(made_by.items())}'.encode()).hexdigest()
    return extract_features(model, loader, Path(cache_dir) / f'{archive.name}_{key[:12]}')


def identity_of(model: nn.Module, pipeline: Sequence[dict]) -> dict[str, str]:
    """Returns what the features depend on besides the images: architecture, weights,
    preprocessing."""
    return dict(unwrap(model).identity(), preprocessing=describe(pipeline))


def extract_features(
    model: nn.Module,
    loader: DataLoader,
    folder: str | Path,
    *,
    shard_size: int = 4096,
    refuse_foreign: bool = False,
    about: dict | None = None,
) -> Archive | None:
    """Computes the features that are missing in the cache, and returns all.

    Every process encodes its share and writes a shard whenever ``shard_size`` images are done; at
    the end the first process joins the shards. After an interruption, call the function again, with
    any number of processes. The images of a batch depend only on the archive, so the result is the
    same to the last bit for any number of processes.

    Args:
        model: wrapped or not, on its device. It has ``identity() -> dict[str, str]``,
            ``encode_image(images) -> (N, D)`` of length 1, and ``data_preprocessor``.
        loader: over an :class:`~rs_mm.datasets.image_archive.ImageArchive` or a
            :class:`~rs_mm.datasets.image_archive.AnyArchive`, with a :class:`ChosenSampler`,
            without ``drop_last``, and with :func:`archive_collate`.
        folder: folder of the cache, seen by all processes.
        shard_size: images per shard, at most; rounded down to whole batches. Memory is bounded
            by it, and what a killed process loses by it and by :data:`KEEP_EVERY`.
        refuse_foreign: whether features that another model made raise an error instead of
            being replaced.
        about: further entries of the manifest.

    Returns: The features on the first process; None on the others.

    Raises:
        ConfigError: ``refuse_foreign`` is set, and the folder holds features of another model or
            other settings.
        DataError: no image can be read, or the features of an image are NaN or infinite.
    """
    rank, world_size = get_dist_info()
    logger, model = MMLogger.get_current_instance(), unwrap(model)
    dataset: Any = loader.dataset
    cache = FeatureCache(folder, identity_of(model, dataset.pipeline))
    shards, others = read_shards(folder, cache.identity)
    if refuse_foreign and (cache.foreign or others):
        why = cache.why_rebuilt if cache.foreign else 'another model made its shards'
        raise ConfigError(
            f'{folder} holds features, but {why}; give another folder, or delete this one.'
        )
    if cache.why_rebuilt:
        logger.info(f'The features in {folder} are not used: {cache.why_rebuilt}.')
    files = _files_of(dataset)
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    rows = cache.plan(files)
    todo = np.flatnonzero(rows == MISSING)
    batches = _lacking(files, todo, shards, loader.batch_size)
    count = sum(map(len, batches))
    logger.info(
        f'Features: {len(files) - count} of {len(files)} images are in {folder}, {count} '
        'to compute.'
    )
    barrier()  # from here on, shards are written
    share, per_shard = _share(batches, max(1, shard_size // loader.batch_size), rank, world_size)
    if share:
        encode_batches(
            model,
            loader,
            files,
            share,
            per_shard,
            rank == 0,
            logger,
            lambda places, features, reasons: write_shard(
                folder,
                cache.identity,
                [files[i] for i in places],
                features,
                {files[i]: reason for i, reason in reasons.items()},
            ),
        )
    barrier()
    if rank == 0:
        shards, _ = read_shards(folder, cache.identity)
        reasons = {file: why for shard in shards for file, why in shard.unreadable.items()}
        lost = sum(files[i] in reasons for i in todo)
        if lost < len(files):
            cache.write(files, rows, shards, paths, about)
        drop_shards(folder)
    barrier()
    if rank:
        return None
    if lost == len(files):
        reason = next(iter(reasons.values()), '')
        raise DataError(
            f'none of the {len(files)} images in {dataset.data_root} can be read'
            f'{": " + reason if reason else ""}.'
        )
    _report_unreadable(cache, len(files), logger)
    where = dict(zip((file.name for file in files), paths))
    names = cache.names()
    return Archive(
        names,
        [where[name] for name in names],
        torch.from_numpy(cache.features()),
        cache.unreadable(),
    )


def _files_of(dataset) -> list[File]:
    files = [File(*file) for file in dataset.files()]
    if len({file.name for file in files}) < len(files):
        counts = Counter(file.name for file in files)
        twice = next(name for name, count in counts.items() if count > 1)
        raise DataError(
            f'two images of the archive are named {twice!r}; extract the sets one by '
            'one, into a folder each.'
        )
    return files


def _lacking(files, todo, shards, batch_size) -> list[np.ndarray]:
    """Returns the batches that are not complete in a shard."""
    done = set()
    for shard in shards:
        done.update(shard.files, shard.unreadable)
    batches = [todo[i : i + batch_size] for i in range(0, len(todo), batch_size)]
    return [batch for batch in batches if any(files[i] not in done for i in batch)]


def _share(batches, per_shard, rank, world_size):
    """Returns the batches of this process, and the number per shard; each process gets a shard."""
    per_shard = min(per_shard, max(1, -(-len(batches) // world_size)))
    runs = [batches[i : i + per_shard] for i in range(0, len(batches), per_shard)]
    return [batch for run in runs[rank::world_size] for batch in run], per_shard


def encode_batches(
    model: Any,
    loader: Any,
    files: Sequence[Any],
    share: Sequence[np.ndarray],
    per_shard: int,
    progress: bool,
    logger: Any,
    store: Callable[[list[int], np.ndarray, dict[int, str]], None],
) -> None:
    """Encodes batches of a dataset and stores them in shards.

    Args:
        model: see :func:`extract_features`.
        loader: see :func:`extract_features`.
        files: what has the ``name`` of each sample of the dataset.
        share: the batches, each a list of sample numbers.
        per_shard: batches of a shard, at most; one that takes longer than :data:`KEEP_EVERY` ends
            before.
        progress: whether a bar is shown.
        logger: log for the speed.
        store: takes the numbers of the samples of a shard, their features (n, D), and the reason
            for each that cannot be read.
    """
    total = sum(map(len, share))
    loader.sampler.indices = np.concatenate(share)
    waited, start = 0.0, time.perf_counter()
    loaded = iter(loader)
    model.eval()
    shard, pending = _Filling(files, store), None
    with tqdm(total=total, unit='img', disable=not progress, desc='features') as bar:
        for number, places in enumerate(share):
            before = time.perf_counter()
            batch = next(loaded)
            waited += time.perf_counter() - before
            reasons = [sample.get('unreadable') for sample in batch['data_samples']]
            features = None
            if batch['inputs'] is not None:
                images = model.data_preprocessor(dict(inputs=batch['inputs']))['inputs']
                features = model.encode_image(images)
            # the device already has this batch while the features of the previous one are copied
            # back
            if pending is not None:
                shard.add(*pending)
                bar.update(len(pending[0]))
            late = time.perf_counter() - shard.started > KEEP_EVERY
            if number and (number % per_shard == 0 or late):
                shard.finish()
            pending = places, reasons, features
        shard.add(*pending)
        shard.finish()
        bar.update(len(pending[0]))
    seconds = time.perf_counter() - start
    logger.info(
        f'{total} images in {seconds:.1f} s: {total / seconds:.1f} images/s, '
        f'{waited / seconds:.0%} of the time waiting for data.'
    )


class _Filling:
    """The shard that is being filled."""

    def __init__(self, files, store):
        self.files, self.store = files, store
        self.started = time.perf_counter()
        self.places, self.features, self.unreadable = [], [], {}

    def add(self, places, reasons, features):
        readable = [place for place, reason in zip(places, reasons) if reason is None]
        self.places += readable
        self.unreadable.update(
            {place: reason for place, reason in zip(places, reasons) if reason is not None}
        )
        if features is not None:
            features = features.cpu()
            check_finite(features, [self.files[place].name for place in readable])
            self.features.append(features.numpy())

    def finish(self):
        features = np.concatenate(self.features) if self.features else np.zeros((0, 0), np.float32)
        self.store(self.places, features, self.unreadable)
        self.started = time.perf_counter()
        self.places, self.features, self.unreadable = [], [], {}


def _report_unreadable(cache, total, logger):
    bad = cache.unreadable()
    if bad:
        shown = ''.join(f'\n  {reason}' for reason in list(bad.values())[:20])
        more = f'\n  … all are listed in {cache.folder / "features.json"}' if len(bad) > 20 else ''
        logger.warning(f'{len(bad)} of {total} images cannot be read and are skipped:{shown}{more}')
