"""A predictor of the labels of images and of the tiles of scenes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.logging import print_log

from rs_mm.apis.backends import use_backend
from rs_mm.apis.inputs import Picture, as_picture, as_pictures, is_many, say_unplaced
from rs_mm.datasets.label_tables import CLASSES, read_label_table
from rs_mm.datasets.multilabel_dataset import build_pipeline
from rs_mm.datasets.wrapped_datasets import dataset_parts, takes_eight_bit, tested_pipeline
from rs_mm.errors import ConfigError, DataError, suggest
from rs_mm.launch.model_loading import LoadedModel, load_model
from rs_mm.models.memories import FeatureBank
from rs_mm.rasters import Grid, SceneTiles, TileSize, cut
from rs_mm.registry import INFERENCERS
from rs_mm.retrieval.knn import label_weights
from rs_mm.retrieval.nearest import nearest
from rs_mm.visualization.retrieval_sheet import to_rgb

from .result import ImageLabels, SceneLabels

METHODS = ('auto', 'classifier', 'knn')
THRESHOLDS = 'label_thresholds'  # key in the meta data of the checkpoint


@INFERENCERS.register_module()
class LabelPredictor:
    """A trained multi-label model for your own images.

    Args:
        config: name or path of a config of ``configs/oml`` or ``configs/grn``, or a config.
        checkpoint: its weights. Default: the initial weights of the config.
        device: ``cpu``, ``cuda``, ... Default: CUDA if available.
        options: overrides of the config, as for the tools.
        method: ``classifier``: the sigmoid of the model's logits; ``knn``: the nearest neighbours
            in the memory of a GRN, weighted with 1 / distance, as published. Default: the
            classifier, if the model has one.
        k: number of neighbours. Default: as in the config's metric, else 10.
        thresholds: least probability of a found class: a number, a list, or a dict
            from class names. Default: the thresholds that ``tools/choose_thresholds.py`` stored in
            the checkpoint for this method, else 0.5; for ``knn`` the default is more than 0.5, the
            published vote.
        classes: names of the classes. Default: from the checkpoint, else from the config.
        backend: the back end of the network: ``torch``, ``bfloat16``, ``onnx``, or the folder of an
            export; see :func:`~rs_mm.apis.backends.use_backend`.

    Raises:
        MissingFileError, CheckpointError: the config or the checkpoint is missing or does not fit.
        ConfigError: the config is for another task, or the model does not have ``method``.

    Example:
        >>> from rs_mm.apis import LabelPredictor
        >>> predictor = LabelPredictor('configs/grn/….py', 'epoch_130.pth')
        >>> predictor('airport.jpg').labels
        ['airplane', 'pavement']
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        options: dict | list[str] | None = None,
        method: str = 'auto',
        k: int | None = None,
        thresholds: float | Sequence[float] | Mapping[str, float] | None = None,
        classes: Sequence[str] | None = None,
        backend: str | Path = 'torch',
    ) -> None:
        loaded = load_model(
            config,
            checkpoint,
            device,
            options,
            asked_by=type(self).__name__,
            needs='add_predictions',
            needed_for='needs a model with labels, such as those of configs/oml and configs/grn',
        )
        use_backend(loaded, backend)
        self.model, self.name = loaded.model, loaded.name
        steps = tested_pipeline(loaded.cfg)
        self.eight_bit = takes_eight_bit(steps)
        self.pipeline = Compose(build_pipeline(steps))
        self.batch_size = (loaded.cfg.get('test_dataloader') or {}).get('batch_size') or 32
        self.method, self._memory = _choose_method(self.model, method, loaded.name)
        self.k = k or _k_of(loaded.cfg)
        self.classes = list(classes or _classes_of(loaded, self._count()))
        if len(self.classes) != self._count():
            raise ConfigError(
                f'{len(self.classes)} class names were given, but the model has {self._count()} '
                'classes.'
            )
        stored = loaded.meta.get(THRESHOLDS) or {}
        if thresholds is None and stored.get('method') == self.method:
            thresholds = stored['values']
            print_log(f'thresholds of {stored.get("chosen_on", "the checkpoint")}', 'current')
        self.thresholds = check_thresholds(thresholds, self.classes)

    def __call__(
        self,
        images: Any,
        tile: str | float | None = None,
        stride: str | float | None = None,
        batch_size: int | None = None,
    ) -> ImageLabels | SceneLabels | list[ImageLabels] | list[SceneLabels]:
        """Predicts the labels of images, or of the tiles of scenes.

        Args:
            images: one image or a list: paths, arrays (H, W, C), Pillow images, rasterio datasets.
            tile: cuts every image into tiles of this size: pixels (``256``), or metres on the
                ground (``'150m'``). Default: an image is one sample, as in a test.
            stride: distance between the starts of tiles. Default: the tile.
            batch_size: images per pass of the model. Default: the batch size of the config's test.
                With it, a list of all images gives the results of the test to the last bit; with
                another batch size, sums may round differently.

        Returns:
            A result, or a list in the order of the images. In a list, an image that cannot be read
            has its ``reason`` instead of labels.

        Raises:
            MissingFileError, DataError: the only image cannot be read.
        """
        if tile is not None:
            size = TileSize.parse(tile, stride)
            found: list = [self.scene(item, size, batch_size) for item in _listed(images)]
        elif is_many(images):
            found = list(self.predict_many(images, batch_size))
        else:
            found = self._predict([self._prepare(*as_pictures(images, self.eight_bit))])
        return found if is_many(images) else found[0]

    def predict_many(
        self, images: Iterable[Any], batch_size: int | None = None, threads: int = 2
    ) -> Iterator[ImageLabels]:
        """Predicts the labels of any number of images, batch by batch.

        Args:
            images: as for a call.
            batch_size: images per pass of the model; see the call.
            threads: number of threads that read images.

        Yields: The labels of each image in order; for an unreadable image the reason.
        """
        numbered, batch_size = iter(enumerate(images, 1)), batch_size or self.batch_size
        with ThreadPoolExecutor(threads) as pool:
            ahead = pool.map(self._try, list(itertools.islice(numbered, batch_size)))
            while items := list(ahead):
                ahead = pool.map(self._try, list(itertools.islice(numbered, batch_size)))
                yield from self._predict(items)

    def scene(self, image: Any, size: TileSize, batch_size: int | None = None) -> SceneLabels:
        """Predicts the labels of the tiles of one scene; tiles that are mostly without data are
        left out.

        Raises:
            MissingFileError, DataError: the scene cannot be read, or no tile of it holds data.
        """
        picture = as_picture(image, 'scene', self.eight_bit)
        if picture.path is None:
            return self._array_scene(picture, size, batch_size)
        with SceneTiles(picture.path, eight_bit=self.eight_bit) as scene:
            say_unplaced(scene.info)
            windows, stride = _windows(Grid.of(scene.info), size, picture.path)
            return self._scene(
                picture,
                scene.tiles(windows),
                stride,
                dict(
                    shape=scene.info.shape,
                    crs=scene.info.crs,
                    transform=scene.info.transform,
                    preview=to_rgb(scene.preview()),
                ),
                batch_size,
            )

    def _array_scene(self, picture, size, batch_size):
        shape = picture.array.shape[:2]
        grid = Grid(*shape, picture.transform, picture.crs)
        windows, stride = _windows(grid, size, picture.name)
        tiles = ((window, picture.array[window.slices]) for window in windows)
        step = max(1, -(-max(shape) // 1024))
        about = dict(
            shape=shape,
            crs=picture.crs,
            transform=picture.transform,
            preview=to_rgb(picture.array[::step, ::step]),
        )
        return self._scene(picture, tiles, stride, about, batch_size)

    def _scene(self, picture, tiles, stride, about, batch_size):
        windows, found = [], []
        while group := list(itertools.islice(tiles, batch_size or self.batch_size)):
            windows += [window for window, _ in group]
            found += self._predict(
                [self._prepare(Picture(picture.name, array=array)) for _, array in group]
            )
        if not windows:
            raise DataError(f'{picture.path or picture.name}: no tile of it holds data.')
        return SceneLabels(
            name=picture.name,
            classes=self.classes,
            windows=windows,
            probability=np.stack([result.probability for result in found]),
            label=np.stack([result.label for result in found]),
            stride=stride,
            path=picture.path,
            **about,
        )

    def _try(self, numbered):
        number, image = numbered
        try:
            return self._prepare(as_picture(image, f'image {number}', self.eight_bit))
        except (DataError, OSError) as error:
            path = str(image) if isinstance(image, (str, Path)) else None
            name = Path(path).stem if path else f'image {number}'
            return Picture(name, path=path), str(error)

    def _prepare(self, picture):
        """Returns the picture and its packed sample."""
        return picture, self.pipeline(picture.results())

    @torch.no_grad()
    def _predict(self, items) -> list[ImageLabels]:
        """Returns the labels of pairs of a picture and its packed sample, or the reason of a
        failure."""
        packed = [data for _, data in items if not isinstance(data, str)]
        rows = iter(self._probabilities(packed) if packed else ())
        results = []
        for picture, data in items:
            known = dict(
                name=picture.name, classes=self.classes, path=picture.path, image=picture.array
            )
            if isinstance(data, str):
                empty = np.zeros(0, np.float32)
                results.append(
                    ImageLabels(probability=empty, label=empty > 0, reason=data, **known)
                )
                continue
            probability = next(rows)
            label = self._found(probability)
            results.append(
                ImageLabels(probability=probability.astype(np.float32), label=label, **known)
            )
        return results

    def _probabilities(self, packed):
        batch = dict(
            inputs=[data['inputs'] for data in packed],
            data_samples=[data['data_samples'] for data in packed],
        )
        samples = self.model.test_step(batch)
        if self.method == 'classifier':
            values = torch.stack([sample.score for sample in samples])
        else:
            features = torch.stack([sample.embedding for sample in samples])
            memory = self._memory.features.to(features)
            distances, rows = nearest(features, memory, self.k)
            present, absent = label_weights(distances, self._memory.labels.to(rows.device)[rows])
            values = present / (present + absent)
        values = values.cpu().numpy()
        if not np.isfinite(values).all():
            raise DataError(
                'the probabilities are NaN; are the weights damaged, or did their training diverge?'
            )
        return values

    def _found(self, probability):
        if self.thresholds is not None:
            return probability >= self.thresholds
        return probability > 0.5 if self.method == 'knn' else probability >= 0.5

    def _count(self):
        if self.method == 'knn':
            return self._memory.labels.shape[1]
        return self.model.num_classes


def check_thresholds(
    thresholds: float | Sequence[float] | Mapping[str, float] | None, classes: Sequence[str]
) -> np.ndarray | None:
    """Converts thresholds to one number for each class; None stays None.

    Raises:
        ConfigError: the number of thresholds is wrong, a class is unknown, or a threshold is
            outside [0, 1].
    """
    if thresholds is None:
        return None
    if isinstance(thresholds, Mapping):
        for name in thresholds:
            if name not in classes:
                near = suggest(name, classes)
                raise ConfigError(f'thresholds: there is no class {name!r}{near}.')
        thresholds = [thresholds.get(name, 0.5) for name in classes]
    values = np.asarray(thresholds, np.float64)
    if values.ndim and len(values) != len(classes):
        raise ConfigError(f'{len(values)} thresholds were given for {len(classes)} classes.')
    if not ((values >= 0) & (values <= 1)).all():
        raise ConfigError(f'thresholds are probabilities from 0 to 1, not {thresholds}.')
    return np.broadcast_to(values, len(classes))


def _choose_method(model, method, name):
    if method not in METHODS:
        raise ConfigError(f'method {method!r}: choose one of {", ".join(METHODS)}.')
    classifier = bool(getattr(model, 'num_classes', None))
    memories = [part for part in model.modules() if isinstance(part, FeatureBank) and part.labelled]
    if method != 'knn' and classifier:
        return 'classifier', None
    if method != 'classifier' and memories:
        return 'knn', memories[0]
    lacks = {
        'classifier': 'no classifier (`head.num_classes`)',
        'knn': 'no trained memory with labels',
        'auto': 'neither a classifier nor a trained memory with labels',
    }[method]
    raise ConfigError(f'{name} has {lacks}, so labels cannot be predicted.')


def _k_of(cfg):
    metrics = cfg.get('test_evaluator') or cfg.get('val_evaluator') or []
    for metric in [metrics] if isinstance(metrics, dict) else metrics:
        if str(metric.get('type')).rpartition('.')[2] in ('KNNMetric', 'KNNMultiLabel'):
            return metric.get('k', 10)
    return 10


def _classes_of(loaded: LoadedModel, count: int) -> list[str]:
    """Returns class names from the checkpoint, the dataset of the config, or its label table."""
    stored = (loaded.meta.get('dataset_meta') or {}).get('classes')
    if stored and len(stored) == count:
        return list(stored)
    for key in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        if not loaded.cfg.get(key):
            continue
        for part in dataset_parts(loaded.cfg[key].dataset):
            names = _names_in(part)
            if len(names) == count:
                return list(names)
    return [f'class_{i}' for i in range(count)]


def _names_in(dataset):
    names = dataset.get('classes') or (dataset.get('metainfo') or {}).get('classes') or ()
    if isinstance(names, str):
        return CLASSES.get(names, ())
    table = dataset.get('label_table')
    if names or not table:
        return names
    try:
        return read_label_table(table).classes
    except (DataError, OSError):  # the dataset of the config may be missing
        return ()


def _windows(grid, size, name):
    """The tiles of a scene and their stride in pixels."""
    tile, stride = size.in_pixels(grid, name)
    if min(grid.shape) < tile:
        raise DataError(
            f'{name} is {grid.width} x {grid.height} pixels, smaller than a tile of {tile} x '
            f'{tile}; give a smaller tile, or none.'
        )
    return cut(grid.shape, tile, stride), stride


def _listed(images):
    return images if is_many(images) else [images]
