"""The features of an archive: from its cache, or computed once, by all processes together."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dist import barrier, broadcast_object_list, get_dist_info
from mmengine.logging import MMLogger
from torch import Tensor
from torch.utils.data import Sampler
from tqdm import tqdm

from rs_mm.errors import DataError
from rs_mm.registry import DATA_SAMPLERS
from rs_mm.retrieval.cache import MISSING, UNREADABLE, FeatureCache, File, Part


@DATA_SAMPLERS.register_module()
class ChosenSampler(Sampler):
    """Yields the indices put into :attr:`indices`, in order; at first all of them.

    Args:
        dataset (Sized): the dataset.
    """

    def __init__(self, dataset, seed=None):
        self.indices = range(len(dataset))

    def __iter__(self):
        return iter(map(int, self.indices))

    def __len__(self):
        return len(self.indices)


def archive_collate(batch: list[dict]) -> dict:
    """Makes one tensor of the readable images, so that one copy brings them to the device.

    Returns:
        dict: ``inputs``, (n, C, H, W) or None if no image is readable, and ``data_samples``, those
        of all images; the unreadable ones have ``unreadable``.
    """
    images = [item['inputs'] for item in batch if item['inputs'] is not None]
    return dict(inputs=torch.stack(images) if images else None,
                data_samples=[item['data_samples'] for item in batch])


class Archive(NamedTuple):
    """The readable images of an archive.

    ``names`` (N strings), ``paths`` (N strings), ``features`` (N, D) float32 of length 1,
    ``unreadable`` maps the names of the others to the reason.
    """

    names: list[str]
    paths: list[str]
    features: Tensor
    unreadable: dict[str, str]


def extract_archive(model, loader, cache_dir) -> Archive | None:
    """Computes the features that the cache lacks, and returns all.

    Every process encodes its share and writes it to a file of its own in ``cache_dir``, which all
    must see; the first process puts them together.

    Args:
        model (nn.Module): a :class:`~rs_mm.models.composed_retriever.ComposedRetriever`, wrapped or
            not, on its device.
        loader (DataLoader): over an :class:`~rs_mm.datasets.image_archive.ImageArchive`, with a
            :class:`ChosenSampler` and :func:`archive_collate`.
        cache_dir (str | Path): below it every archive and model has a
            :class:`~rs_mm.retrieval.cache.FeatureCache` of its own.

    Returns:
        Archive: on the first process; None on the others.

    Raises:
        DataError: if no image can be read.
    """
    rank, world_size = get_dist_info()
    logger, dataset = MMLogger.get_current_instance(), loader.dataset
    bare = model.module if hasattr(model, 'module') else model
    identity = bare.identity()
    folder = _cache_folder(cache_dir, dataset, identity)
    identity['preprocessing'] = ' '.join(repr(dataset.pipeline).split())
    cache = FeatureCache(folder, identity)
    files = [File(*file) for file in dataset.files()]
    rows = cache.plan(files)
    token = [secrets.token_hex(4)]
    broadcast_object_list(token)

    todo = np.flatnonzero(rows == MISSING)
    if cache.why_rebuilt:
        logger.info(f'The features in {cache.folder} are not used: {cache.why_rebuilt}.')
    logger.info(f'Features: {len(files) - len(todo)} of {len(files)} images are in '
                f'{cache.folder}, {len(todo)} to compute.')
    part_path = cache.folder / f'part-{token[0]}-{{}}.npy'
    if len(todo):
        loader.sampler.indices = todo[rank::world_size]
        _encode(bare, loader, Path(str(part_path).format(rank)), rank == 0, logger)
    barrier()
    if rank:
        barrier()
        return None
    paths = [Path(str(part_path).format(r)) for r in range(world_size if len(todo) else 0)]
    parts = [_read_part(path) for path in paths]
    lost = (rows == UNREADABLE).sum() + sum(len(part.unreadable) for part in parts)
    if lost < len(files):
        cache.write(files, rows, parts)
    for path in paths:
        path.unlink()
        path.with_suffix('.json').unlink()
    barrier()
    if lost == len(files):
        reason = next(iter(parts[0].unreadable.values()), '') if parts else ''
        raise DataError(f'none of the {len(files)} images in {dataset.data_root} can be read'
                        f'{": " + reason if reason else ""}.')
    _report_unreadable(cache, len(files), logger)
    where = {dataset.get_data_info(i)['name']: dataset.get_data_info(i)['img_path']
             for i in range(len(dataset))}
    names = cache.names()
    return Archive(names, [where[name] for name in names], torch.from_numpy(cache.features()),
                   cache.unreadable())


def _cache_folder(root, dataset, identity):
    archive = Path(dataset.data_root).resolve()
    key = hashlib.sha256(f'{archive} {sorted(identity.items())}'.encode()).hexdigest()
    return Path(root) / f'{archive.name}_{key[:12]}'


def _encode(model, loader, path, progress, logger):
    """Encodes what the loader yields into ``path`` and, beside it, its places as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    places, unreadable, array, pending = [], {}, None, None
    waited, start = 0.0, time.perf_counter()
    batches = iter(loader)
    model.eval()

    def store(indices, features):
        nonlocal array
        features = features.cpu().numpy()
        if array is None:
            array = np.lib.format.open_memmap(path, 'w+', np.float32,
                                              (len(loader.sampler), features.shape[1]))
        array[len(places):len(places) + len(features)] = features
        places.extend(indices)

    with tqdm(total=len(loader.sampler), unit='img', disable=not progress,
              desc='features') as bar:
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            waited += time.perf_counter() - before
            current = None
            if batch is not None:
                samples = batch['data_samples']
                unreadable.update({sample.sample_idx: sample.unreadable for sample in samples
                                   if 'unreadable' in sample})
                if batch['inputs'] is not None:
                    images = model.data_preprocessor(dict(inputs=batch['inputs']))['inputs']
                    current = ([sample.sample_idx for sample in samples
                                if 'unreadable' not in sample], model.encode_image(images))
            # the device already has the next batch when the last one's features are fetched
            if pending is not None:
                store(*pending)
            pending = current
            if batch is None:
                break
            bar.update(len(samples))
    seconds = time.perf_counter() - start
    if array is None:
        np.save(path, np.zeros((0, 1), np.float32))
    else:
        array.flush()
    path.with_suffix('.json').write_text(json.dumps(dict(places=places, unreadable=unreadable)))
    logger.info(f'{len(places)} images in {seconds:.1f} s: {len(places) / seconds:.1f} images/s, '
                f'{waited / seconds:.0%} of the time waiting for data.')


def _read_part(path):
    lists = json.loads(path.with_suffix('.json').read_text())
    places = np.array(lists['places'], np.int64)
    features = np.load(path, mmap_mode='r')[:len(places)]
    return Part(places, features, {int(key): why for key, why in lists['unreadable'].items()})


def _report_unreadable(cache, total, logger):
    bad = cache.unreadable()
    if bad:
        shown = ''.join(f'\n  {reason}' for reason in list(bad.values())[:20])
        more = f'\n  … all are listed in {cache.folder / "features.json"}' if len(bad) > 20 else ''
        logger.warning(f'{len(bad)} of {total} images cannot be read and are skipped:{shown}{more}')
