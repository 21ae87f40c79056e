"""Search in an archive by an image, a text, or both."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from torch import Tensor
from torch.utils.data import DataLoader

from rs_mm.apis.backends import use_backend
from rs_mm.apis.features.extraction import load_features
from rs_mm.apis.inputs import Picture, as_picture, is_many, takes_eight_bit
from rs_mm.datasets.archive_metadata import read_metadata_table
from rs_mm.datasets.bigearthnet.dataset import LoadBigEarthNetPatch, read_true_colour
from rs_mm.datasets.image_archive import ImageArchive
from rs_mm.datasets.multilabel_dataset import build_pipeline
from rs_mm.datasets.scene_archive import AUTO, SceneArchive
from rs_mm.datasets.transforms.clip_images import LoadRGBImage
from rs_mm.datasets.wrapped_datasets import tested_pipeline
from rs_mm.engine.feature_extraction import ChosenSampler, archive_collate, identity_of
from rs_mm.engine.index_update import Update, update_index
from rs_mm.errors import ConfigError, MissingFileError
from rs_mm.launch.config import load_config
from rs_mm.launch.model_loading import load_model
from rs_mm.rasters import SceneTiles
from rs_mm.registry import INFERENCERS
from rs_mm.retrieval import check_finite
from rs_mm.retrieval.fusion import Fusion, ImageOnly
from rs_mm.retrieval.index import (
    Condition,
    ExactIndex,
    Index,
    Record,
    open_index,
    search_fused,
)
from rs_mm.retrieval.text_terms import Term, encode_terms, read_terms
from rs_mm.visualization.composed_sheet import Hit, draw_composed_query

from .methods import fusion_of
from .places import LOOKED_AROUND, settle_places
from .results import Found, Results

_SAMPLE = 1000  # number of images for the statistics of the archive
_AUTO_CUT = str(dict(tile=AUTO, stride=None))


@INFERENCERS.register_module()
class ImageSearch:
    """An archive for search.

    Its vectors are computed once and kept in an index; later, only new content is computed. Instead
    of an archive, the vectors may be features of ``tools/retrieval/extract.py``, or an existing
    index.

    Args:
        archive: folder; every image below it is searched, and the index is brought up to date.
        config: a config of ``configs/weicom`` (image and text), or of ``configs/oml`` or
            ``configs/grn`` (image): model, weights and pipeline are used.
        weights: weights file or checkpoint instead of the config's.
        index_dir: folder for the index of ``archive`` if ``index`` names none.
        bands: 0-based bands of a TIFF for red, green and blue.
        device: default: the GPU if there is one.
        options: overrides of the config.
        features: instead of ``archive``: a folder of extracted features.
        index: ``DIR``, ``lance://DIR``, ``milvus://FILE.db`` or ``milvus+http://HOST:19530``;
            see :func:`~rs_mm.retrieval.index.open_index`.
        metadata: CSV with metadata of the images; see
            :func:`~rs_mm.datasets.archive_metadata.read_metadata_table`.
        token: of a Milvus server.
        tile: scenes of the archive are cut into tiles of this side, in pixels (``256``) or metres
            (``'150m'``), and each hit has its window. ``auto`` cuts only pictures that are much
            larger than what the model sees, into parts of that size; see
            :class:`~rs_mm.datasets.scene_archive.SceneArchive`. ``none``: a file is one image.
        stride: distance between the starts of tiles. Default: the tile, with ``auto`` its half.
        backend: what computes the network: ``torch``, ``bfloat16``, ``onnx``, or the folder of an
            export; see :func:`~rs_mm.apis.backends.use_backend`. An index of smaller numbers than
            float32 is one of its own.

    Attributes:
        index: the index.
        update: the changes of the index, or None.
        settles: whether a part of a scene that a query image finds is moved to where it fits best;
            see :func:`~rs_mm.apis.search.places.settle_places`. So where ``tile`` is ``auto``.

    Raises:
        ConfigError: index or features belong to another model, or the model needs weights.

    Example:
        >>> search = ImageSearch('tiles', 'configs/weicom/weicom_clip-vit-l14_patterncom.py')
        >>> search('pool.jpg', 'oval', lam=0.5, k=10)
    """

    def __init__(
        self,
        archive: str | Path | None,
        config: str | Path,
        weights: str | Path | None = None,
        index_dir: str | Path = 'work_dirs/features',
        bands: Sequence[int] | None = None,
        device: str | None = None,
        options: dict | list[str] | None = None,
        features: str | Path | None = None,
        index: str | None = None,
        metadata: str | Path | None = None,
        token: str = '',
        tile: str | float | None = AUTO,
        stride: str | float | None = None,
        backend: str | Path = 'torch',
    ) -> None:
        if (archive is None) == (features is None) and (index is None or features is not None):
            raise ConfigError(
                'search a folder of images (--archive), an index (--index), or extracted features '
                '(--features).'
            )
        cfg = load_config(config, options)
        if not cfg.get('training_free') and weights is None and not cfg.get('load_from'):
            raise ConfigError(
                'give --weights: the checkpoint of the model that this config trains.'
            )
        table = None if metadata is None else read_metadata_table(metadata)
        steps = tested_pipeline(cfg)
        if bands is not None:
            steps[0].bands = list(bands)
        self.eight_bit = takes_eight_bit(steps)
        self.pipeline = Compose(build_pipeline(steps))
        first = self.pipeline.transforms[0]
        self.reader = first if isinstance(first, LoadRGBImage) else LoadRGBImage(bands)
        self.of_patches = isinstance(first, LoadBigEarthNetPatch)
        loaded = load_model(
            cfg,
            weights,
            device,
            asked_by=type(self).__name__,
            needs='encode_image',
            needed_for='needs a model that embeds images, such as those of configs/weicom, '
            'configs/oml and configs/grn',
        )
        use_backend(loaded, backend)
        self.model, self.device = loaded.model, loaded.device
        self.batch_size = (cfg.get('test_dataloader') or {}).get('batch_size') or 32
        identity = identity_of(self.model, self.pipeline)
        self.update: Update | None = None
        if features is not None:
            self.index: Index = _of_features(features, identity)
        elif archive is None:
            self.index = open_index(str(index), None, identity, token)
        else:
            cut = dict(tile=None if tile == 'none' else tile, stride=stride)
            uri = index or _default_place(archive, {**identity, 'cut': str(cut)}, index_dir)
            whole = _whole_files(uri, identity, token) if cut['tile'] == AUTO else ()
            loader = _loader(cfg, archive, steps, self.device, cut, whole)
            self.index, self.update = update_index(uri, self.model, loader, table, token)
            self.index.note('cut', str(cut))
        self.settles = self.index.noted('cut') == _AUTO_CUT
        self._fitted: dict[Any, Any] = {}
        self._settled: dict[str, Record] = {}  # parts that are not in the index, by key
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.index)

    def __call__(
        self,
        image: Any = None,
        text: str | None = None,
        lam: float = 0.5,
        k: int = 10,
        method: str | Fusion = 'weicom',
        where: Condition | None = None,
        terms: Sequence[str] = (),
        without: Sequence[str] = (),
    ) -> Results | list[Results]:
        """Finds the ``k`` best images.

        Args:
            image: query image: a path, an array, a Pillow image or a rasterio dataset, or the name
                of an image of the archive; or a list of these, which are embedded together.
            text: query text; "... but without ..." is understood.
            lam: share of the text in [0, 1], for ``weicom``.
            k: number of images.
            method: how the two similarities become a score; see
                :func:`~rs_mm.apis.search.fusion_of`.
            where: only images that meet this condition; see
                :func:`~rs_mm.retrieval.index.make_filter`.
            terms: further texts as ``TEXT=WEIGHT``.
            without: texts of what images must not show.

        Returns:
            What was found; for a list of images a list.

        Raises:
            ConfigError: see :func:`~rs_mm.apis.search.fusion_of`; for ``k`` below 1; for a text
                where the model takes none.
            MissingFileError: if the image is neither a file nor in the archive.
            DataError: if the query image cannot be read, no image meets the condition, or the
                similarities are NaN.
        """
        if k < 1:
            raise ConfigError(f'k={k}: ask for at least one image.')
        parts = read_terms(text, terms, without)
        fusion = fusion_of(image is not None, bool(parts), method, lam)
        if parts and not hasattr(self.model, 'encode_text'):
            raise ConfigError(
                f'{type(self.model).__name__} takes no text; search by an image, or '
                'by a config of configs/weicom.'
            )
        with self._lock, torch.no_grad():  # a page searches from several threads
            if fusion.transforms_queries:
                self._fit(fusion, where)
            images = list(image) if is_many(image) else [image]
            features = [None] if image is None else self._embed(images)
            text_feature = self._embed_terms(fusion, parts) if parts else None
            settle = self.settles and isinstance(fusion, ImageOnly)
            wanted = k + LOOKED_AROUND if settle else k
            answers = [
                search_fused(self.index, fusion, feature, text_feature, wanted, where)
                for feature in features
            ]
            found = [
                self._results(answer, k, fusion.name, feature if settle else None, asked, text)
                for asked, feature, answer in zip(images, features, answers)
            ]
        return found if is_many(image) else found[0]

    def _results(self, answer, k, method, settled_by, image, text):
        records = self.index.records(answer.keys)
        found = [
            Found(record.path, float(score), record)
            for record, score in zip(records, answer.scores)
        ]
        if settled_by is not None:
            found = settle_places(found, partial(self._similarity, settled_by), self.eight_bit)
            known = set(answer.keys)
            moved = [hit.record for hit in found if hit.record.key not in known]
            self._settled.update((record.key, record) for record in moved)
        return Results(found[:k], answer, method, partial(self.draw, image=image, text=text))

    def draw(self, found: Results, image: Any = None, text: str | None = None) -> np.ndarray:
        """Draws a sheet of a query and what was found: (H, W, 3) uint8 RGB."""
        hits = [
            Hit(self.picture(hit.record), f'{i}. {Path(hit.path).name}\n{_caption(hit)}')
            for i, hit in enumerate(found, 1)
        ]
        rows = [('' if i else found.method, hits[i : i + 5]) for i in range(0, len(hits), 5)]
        return draw_composed_query(
            None if image is None else self.query_picture(image),
            text,
            rows,
            f'{len(found)} best of {found.answer.total} images',
        )

    def picture(self, record: Record) -> np.ndarray:
        """Reads the image of a record, or its window: (H, W, 3) uint8 RGB."""
        if self.of_patches:
            return read_true_colour(record.path)
        if record.window is None:
            return self.reader(dict(img_path=record.path))['img']
        x, y, width, height = record.window
        with SceneTiles(record.path, None, self.eight_bit) as scene:  # the reader chooses bands
            array, _ = scene.read(slice(y, y + height), slice(x, x + width))
        return self.reader(dict(img_path=record.path, img=array))['img']

    def query_picture(self, image: Any) -> np.ndarray:
        """Returns the query image for display: (H, W, 3) uint8 RGB."""
        record = self._record_of(image)
        if record is not None:
            return self.picture(record)
        picture = as_picture(image, eight_bit=self.eight_bit)
        if picture.array is None:
            return self.picture(Record(picture.name, str(picture.path)))
        return self.reader(picture.results())['img']

    def _record_of(self, image):
        """Returns the record of an image by its name in the archive."""
        if not isinstance(image, (str, Path)) or Path(image).is_file():
            return None
        if str(image) in self._settled:
            return self._settled[str(image)]
        found = self.index.records([str(image)])
        if not found:
            raise MissingFileError(
                f'there is no query image {image}, neither as a file nor in the archive.'
            )
        return found[0]

    def _embed(self, images: Sequence[Any]) -> list[Tensor]:
        """Features (D,) of query images; those of the archive are not computed again."""
        found: dict[int, Tensor] = {}
        pictures: dict[int, Picture] = {}
        for number, image in enumerate(images):
            record = self._record_of(image)
            if record is not None and record.key not in self._settled:
                feature = torch.from_numpy(self.index.fetch([record.key])[0])
                found[number] = feature.to(self.device)
            else:
                given = image if record is None else self.picture(record)
                name = f'image {number + 1}' if len(images) > 1 else 'image'
                pictures[number] = as_picture(given, name, self.eight_bit)
        for start in range(0, len(pictures), self.batch_size):
            group = list(pictures.items())[start : start + self.batch_size]
            features = self._encode([p.results() for _, p in group], [p.name for _, p in group])
            found |= zip((number for number, _ in group), features)
        return [found[number] for number in range(len(images))]

    def _encode(self, results: list[dict], names: list[str]) -> Tensor:
        inputs = [self.pipeline(each)['inputs'] for each in results]
        # a pipeline that does not resize gives images that cannot be one batch
        one = len({tensor.shape for tensor in inputs}) == 1
        batches = [torch.stack(inputs)] if one else [tensor[None] for tensor in inputs]
        data = [self.model.data_preprocessor(dict(inputs=batch)) for batch in batches]
        features = torch.cat([self.model.encode_image(part['inputs']) for part in data])
        check_finite(features, names)
        return features

    def _similarity(self, query, path, arrays) -> np.ndarray:
        """Products of the query's vector and those of windows of a file."""
        results = [dict(img_path=path, name=path, sample_idx=0, img=array) for array in arrays]
        features = self._encode(results, [path] * len(results)).cpu().numpy().astype(np.float64)
        return features @ query.cpu().numpy().astype(np.float64)

    def _embed_terms(self, fusion, parts: list[Term]) -> Tensor:
        feature = encode_terms(
            parts, lambda texts: fusion.encode_texts(texts, self.model.encode_text)
        )
        check_finite(feature[None], [', '.join(part.text for part in parts)], 'text')
        return feature

    def _fit(self, fusion, where):
        """Fits a fusion to the statistics of the archive, which are computed once."""
        moments = self.index.moments(where)
        options = {name: str(value) for name, value in vars(fusion).items() if name != 'fitted'}
        key = (type(fusion), *options.items(), where, moments.count, moments.total.tobytes())
        if key not in self._fitted:
            mean = torch.from_numpy(moments.mean).float().to(self.device)
            sample = torch.from_numpy(self.index.sample(_SAMPLE, where)).to(self.device)
            fusion.fit(mean, sample, self.model.encode_text)
            self._fitted = {key: fusion.fitted}
        fusion.fitted = self._fitted[key]


def _caption(hit):
    return f'{hit.score:.4f}' + ('' if hit.change is None else f', {hit.change:.1%} changed')


def _of_features(folder, identity):
    archive = load_features(folder, identity)
    records = [Record(name, path) for name, path in zip(archive.names, archive.paths)]
    return ExactIndex.of(archive.features.numpy(), records, identity)


def _default_place(archive, identity, index_dir):
    folder = Path(archive).resolve()
    key = hashlib.sha256(f'{folder} {sorted(identity.items())}'.encode()).hexdigest()
    name = re.sub(r'[^\w.-]+', '_', folder.name)  # an address has "://" and "?" of its own
    return str(Path(index_dir) / f'{name}_{key[:12]}.index')


def _whole_files(uri, identity, token):
    """Files that the index holds as one image each, since the last run looked for scenes too."""
    try:
        index = open_index(uri, None, identity, token)
    except MissingFileError:
        return ()
    if index.noted('cut') != _AUTO_CUT:
        return ()
    return {
        (name, state.size, state.changed)
        for name, state in index.files().items()
        if state.keys == [name]
    }


def _loader(cfg, archive, pipeline, device, cut, whole):
    if cut['tile'] is None:
        if cut['stride'] is not None:
            raise ConfigError(f'stride {cut["stride"]}: give the size of the tiles as well.')
        dataset = ImageArchive(str(archive), pipeline)
    else:
        dataset = SceneArchive(str(archive), pipeline=pipeline, whole=whole, **cut)
    return DataLoader(
        dataset,
        cfg.test_dataloader.batch_size,
        sampler=ChosenSampler(dataset),
        num_workers=min(cfg.test_dataloader.num_workers, os.cpu_count() or 1),
        collate_fn=archive_collate,
        pin_memory=device.startswith('cuda'),
    )
