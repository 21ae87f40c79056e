"""Change detection from Python: a change map of two images, without a new config or labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose

from rs_mm.apis.backends import use_backend
from rs_mm.apis.change.loading import PairLoading
from rs_mm.apis.change.outputs import NODATA, numbers
from rs_mm.apis.inputs import Picture, as_picture, is_many
from rs_mm.datasets.wrapped_datasets import dataset_parts, tested_pipeline
from rs_mm.errors import ConfigError, DataError
from rs_mm.launch.model_loading import load_model
from rs_mm.rasters import (
    AlignedPair,
    Grid,
    Layer,
    Raster,
    SceneRun,
    Scratch,
    Tiling,
    align_pair,
    open_raster,
    raster_from_array,
    write_raster,
)
from rs_mm.rasters.scratch import InMemory
from rs_mm.registry import DATASETS, INFERENCERS
from rs_mm.visualization.sheet import Panel, draw_sheet, save_sheet

IGNORED = 255  # class index of pixels without data


@dataclass
class ChangeMap:
    """The result of :class:`ChangeDetector`.

    Attributes:
        mask: (H, W) uint8 class indices; 0 is *unchanged*, 255 a pixel without data.
        probability: (H, W) float32, 1 minus the probability of *unchanged*; NaN
            without data.
        valid: (H, W) bool, True where both dates hold data.
        classes: name of each class.
        grid: georeference of date 1, if it is known.
    """

    mask: np.ndarray
    probability: np.ndarray
    valid: np.ndarray
    classes: tuple[str, ...] = ('unchanged', 'changed')
    grid: Grid | None = None

    def draw(self) -> np.ndarray:
        """Draws mask and probability side by side: (H, W, 3) uint8 RGB."""
        colours = np.array([*_PALETTE[: len(self.classes)]], np.uint8)
        mask = np.full((*self.mask.shape, 3), 127, np.uint8)
        mask[self.valid] = colours[self.mask[self.valid] % len(colours)]
        grey = np.rint(255 * np.nan_to_num(self.probability)).astype(np.uint8)
        share = 100 * float((self.mask[self.valid] > 0).mean()) if self.valid.any() else 0.0
        return draw_sheet(
            [
                [
                    Panel(mask, f'changed: {share:.1f} %'),
                    Panel(np.repeat(grey[..., None], 3, 2), 'probability, 0 black to 1 white'),
                ]
            ],
            legend=dict(zip(self.classes, map(tuple, colours.tolist()))),
            panel_size=384,
        )

    def save(self, folder: str | Path, name: str = 'change') -> list[Path]:
        """Writes ``NAME_mask``, ``NAME_probability`` and ``NAME_picture.png``.

        The files are GeoTIFFs if the georeference is known, otherwise PNGs (the probability as 0 to
        255). The mask has the numbers of :func:`~rs_mm.apis.change.outputs.numbers`.

        Returns:
            The files.
        """
        kept = numbers(self.mask, len(self.classes))
        placed = self.grid is not None and self.grid.transform is not None
        suffix = 'tif' if placed else 'png'
        files = [Path(folder) / f'{name}_{what}.{suffix}' for what in ('mask', 'probability')]
        Path(folder).mkdir(parents=True, exist_ok=True)
        if placed:
            nodata = NODATA if len(self.classes) == 2 else IGNORED
            write_raster(files[0], self.grid, [(0, kept)], Layer('uint8', nodata, 'change'))
            layer = Layer('float32', float('nan'), 'probability of change', average=True)
            write_raster(files[1], self.grid, [(0, self.probability)], layer)
        else:
            save_sheet(files[0], kept)
            grey = np.rint(255 * np.nan_to_num(self.probability)).astype(np.uint8)
            save_sheet(files[1], grey)
        picture = Path(folder) / f'{name}_picture.png'
        save_sheet(picture, self.draw())
        return [*files, picture]


@INFERENCERS.register_module()
class ChangeDetector:
    """A trained change detection model for pairs of images of any size.

    Args:
        config: the config the model was trained with.
        checkpoint: its weights. Default: the initial weights of the config.
        device: ``cpu``, ``cuda``, ``cuda:1``, ... Default: CUDA if available.
        options: overrides of the config, as for the tools.
        resize: resize images to the size of the config's test pipeline, as in its benchmark; a pair
            is then predicted as a whole. Default: at the images' own resolution.
        tile: images with a longer side are predicted in tiles of this size.
        overlap: pixels that neighbouring tiles share; there they are blended.
        batch: number of tiles per pass of the network.
        threshold: pixels with a larger probability of change are changed. Default: the most
            probable class; for a head of one channel its own threshold.
        backend: the back end of the network: ``torch``, ``bfloat16``, ``onnx``, or the
            folder of an export; see :func:`~rs_mm.apis.backends.use_backend`.

    Raises:
        MissingFileError, CheckpointError: the config or the checkpoint is missing or does not fit.
        ConfigError: an option has an unknown key, or the machine does not have the device.

    Example:
        >>> from rs_mm.apis import ChangeDetector
        >>> detector = ChangeDetector('configs/DSQNet/....py', 'best_mIoU.pth')
        >>> mask = detector('2012.tif', '2016.tif').mask
    """

    def __init__(
        self,
        config: Any,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        options: dict | list[str] | None = None,
        resize: bool = False,
        tile: int = 768,
        overlap: int = 192,
        batch: int = 1,
        threshold: float | None = None,
        backend: str | Path = 'torch',
    ) -> None:
        Tiling(1, 1, tile, overlap)  # raises an error at once if they contradict each other
        if batch < 1:
            raise ConfigError(f'batch must be 1 or more, got {batch}.')
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigError(f'threshold is a probability, 0 to 1, got {threshold}.')
        loaded = load_model(config, checkpoint, device, options, asked_by='ChangeDetector')
        use_backend(loaded, backend)
        self.model, self.cfg, self.name = loaded.model, loaded.cfg, loaded.name
        self.checkpoint, self.device = checkpoint or loaded.cfg.get('load_from'), loaded.device
        self.resize, self.tile, self.overlap, self.batch = resize, tile, overlap, batch
        self.threshold = threshold
        self.loader, steps = _split_pipeline(loaded.cfg, resize)
        self.pipeline = Compose(steps)
        self.classes, self.palette = _classes(loaded.cfg, loaded.meta)

    def __call__(
        self,
        date1: Any,
        date2: Any,
        bands: Sequence[int] | None = None,
        value_range: Sequence[float] | None = None,
        align: str = 'none',
    ) -> ChangeMap | list[ChangeMap]:
        """Predicts the changes between two images; pixels are read as the config's loader does.

        Args:
            date1, date2: files, arrays (H, W, C) in file (RGB) order, Pillow images or rasterio
                datasets; or two lists of these, whose entries are pairs.
            bands: bands to take, counted from 0. For a model of colour images: red, green, blue
                (default: the first three, or the only band three times). For other models: the
                bands in the order of the config's loader.
            value_range: (low, high) that become black and white. Default: the range of the loader.
                For a model of colour images uint8 is unchanged, and other types are stretched from
                the 2nd to the 98th percentile of both dates together, per band.
            align: ``none``, ``ground``, ``resample`` or ``crop``; see
                :func:`rs_mm.rasters.align_pair`.

        Returns:
            The changes on the grid of date 1; a list for two lists.

        Raises:
            DataError: the images do not show the same ground, hold no common data, or lack a band.
        """
        if is_many(date1) or is_many(date2):
            if not (is_many(date1) and is_many(date2) and len(date1) == len(date2)):
                raise DataError('give two images, or two lists of equal length.')
            pairs = zip(date1, date2)
            return [self(*pair, bands, value_range, align) for pair in pairs]
        pictures = [as_picture(d, f'date {i}', False) for i, d in enumerate((date1, date2), 1)]
        first, second = (_raster(picture) for picture in pictures)
        with first, second:
            run = self.scene(first, second, [p.path for p in pictures], bands, value_range, align)
            try:
                run.scene.run()
                planes = {
                    name: np.concatenate([rows for _, rows in run.scene.strips(name)])
                    for name in ('mask', 'probability')
                }
            finally:
                run.pair.close()
        valid = planes['mask'] != IGNORED
        return ChangeMap(**planes, valid=valid, classes=self.classes, grid=run.pair.grid)

    def scene(
        self,
        first: Raster,
        second: Raster,
        paths: Sequence[str | None],
        bands: Sequence[int] | None = None,
        value_range: Sequence[float] | None = None,
        align: str = 'none',
        scratch: Scratch | None = None,
        progress: bool = False,
    ) -> ChangeScene:
        """Prepares the prediction of a pair, tile by tile, without predicting."""
        loading = PairLoading(self.loader, bands, value_range)
        loading.choose_bands(first, second)
        pair = align_pair(first, second, align, loading.bands)
        try:
            loading.fit(pair, paths)
        except BaseException:
            pair.close()
            raise
        height, width = pair.grid.shape
        tile = max(height, width) if self.resize else self.tile
        scene = SceneRun(
            Tiling(height, width, tile, 0 if self.resize else self.overlap),
            lambda rows, columns: loading.read(pair, rows, columns),
            self.predict_tiles,
            self.reduce,
            InMemory() if scratch is None else scratch,
            self.batch,
            progress,
        )
        return ChangeScene(pair, loading, scene)

    @torch.inference_mode()
    def predict_tiles(self, tiles: Sequence[list[np.ndarray]]) -> list[np.ndarray]:
        """Computes the probabilities of pairs that the config's loader has loaded.

        Args:
            tiles: each a list of two (h, w, C) arrays.

        Returns:
            For each pair (K, h, w) float32: the probability of change (K = 1) for a model of two
            classes or one channel, otherwise the probability of each class.
        """
        packed = [self.pipeline(dict(img=list(images))) for images in tiles]
        if len({tuple(p['inputs'].shape) for p in packed}) > 1:  # at the border of a scene
            return [self._predict([p])[0] for p in packed]
        return self._predict(packed)

    def _predict(self, packed):
        batch = dict(
            inputs=[p['inputs'] for p in packed], data_samples=[p['data_samples'] for p in packed]
        )
        return [self._probabilities(sample) for sample in self.model.test_step(batch)]

    def _probabilities(self, sample):
        if 'seg_logits' not in sample:
            raise ConfigError(
                f'{self.name}: its model does not predict `seg_logits`; it is not a change '
                'detection model.'
            )
        logits = sample.seg_logits.data.float()
        if len(logits) > 2:
            return logits.softmax(0).cpu().numpy()
        if len(logits) == 1:
            # mmseg stores probabilities under this name for one channel, otherwise logits
            inside = bool((logits >= 0).all() and (logits <= 1).all())
            changed = logits[0] if inside else logits[0].sigmoid()
            return changed[None].cpu().numpy()
        changed, found = 1 - logits.softmax(0)[0], sample.pred_sem_seg.data[0] > 0
        # almost equal logits have a larger one, but their probabilities both round to one half
        changed[found & (changed <= 0.5)] = np.nextafter(np.float32(0.5), np.float32(1)).item()
        changed[~found & (changed > 0.5)] = 0.5
        return changed[None].cpu().numpy()

    def reduce(self, blended: np.ndarray) -> dict[str, np.ndarray]:
        """Returns class indices and probability of change from blended probabilities; NaN is no
        data."""
        known = ~np.isnan(blended[0])
        if len(blended) == 1:
            changed = blended[0]
            mask = (changed > self._threshold()).astype(np.uint8)
        else:
            changed = 1 - blended[0]
            mask = blended.argmax(axis=0).astype(np.uint8)
            if self.threshold is not None:
                mask = np.where(changed > self.threshold, 1 + blended[1:].argmax(axis=0), 0)
                mask = mask.astype(np.uint8)
        mask[~known] = IGNORED
        return dict(mask=mask, probability=changed.astype(np.float32, copy=False))

    def _threshold(self):
        if self.threshold is not None:
            return np.float32(self.threshold)
        head = getattr(self.model, 'decode_head', None)
        single = getattr(head, 'out_channels', 2) == 1
        own = getattr(head, 'threshold', None) if single else None
        return np.float32(0.5 if own is None else own)


@dataclass
class ChangeScene:
    """A pair that is prepared for prediction.

    Attributes:
        pair: both dates on one grid.
        loading: how windows are read.
        scene: the run over its tiles.
    """

    pair: AlignedPair
    loading: PairLoading
    scene: SceneRun


def _raster(picture: Picture) -> Raster:
    if picture.path is not None:
        return open_raster(picture.path)
    return raster_from_array(picture.array, picture.name, picture.crs, picture.transform)


def _split_pipeline(cfg, resize):
    """Returns the loading step of the test pipeline, and the other steps without labels and
    resizing."""
    try:
        pipeline = tested_pipeline(cfg)
    except ConfigError:
        if cfg.get('test_dataloader') or cfg.get('val_dataloader'):
            raise
        pipeline = None
    if not pipeline:
        pipeline = [dict(type='MultiImgLoadImageFromFile'), dict(type='MultiImgPackSegInputs')]
    loader, steps = None, []
    for step in pipeline:
        kind = step['type'].rpartition('.')[2]
        if 'LoadAnnotation' in kind or (kind == 'MultiImgResize' and not resize):
            continue
        if loader is None:
            loader = step
        else:
            steps.append(step)
    if loader is None:
        raise ConfigError('the test pipeline of the config has no step that loads images.')
    # found in any default scope of the config
    return loader, [dict(type='rs_mm.MultiImgLoadImageFromNDArray'), *steps]


def _classes(cfg, meta):
    """Returns names and colours of the config, else of the dataset class, else of the
    checkpoint."""
    known = dict(meta.get('dataset_meta') or {})
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or cfg.get('train_dataloader')
    if loader:
        part = dataset_parts(loader['dataset'])[0]
        made = DATASETS.get(str(part.get('type')))
        for found in (getattr(made, 'METAINFO', None), part.get('metainfo')):
            known.update(found or {})
    classes = tuple(known.get('classes') or ('unchanged', 'changed'))
    palette = [tuple(colour) for colour in known.get('palette') or []]
    if len(palette) != len(classes):
        palette = _PALETTE[: len(classes)]
        palette = [*palette, *[(200, 200, 200)] * (len(classes) - len(palette))]
    if len(classes) > IGNORED:
        raise DataError(f'the model has {len(classes)} classes; a mask holds {IGNORED} at most.')
    return classes, palette


# black, then Okabe and Ito's colours, which colour-blind readers can distinguish
_PALETTE = [
    (0, 0, 0), (255, 255, 255), (213, 94, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (204, 121, 167), (230, 159, 0),
]  # fmt: skip
