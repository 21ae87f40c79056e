"""Finding a class in images that a few other images with masks define."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import Compose

from rs_mm.apis.backends import use_backend
from rs_mm.apis.inputs import Picture, as_pictures, is_many
from rs_mm.datasets.multilabel_dataset import build_pipeline
from rs_mm.datasets.wrapped_datasets import tested_pipeline
from rs_mm.errors import ConfigError, DataError
from rs_mm.launch.model_loading import load_model
from rs_mm.models.segmentors.few_shot_segmentor import vote
from rs_mm.rasters import Grid, Scratch, Tiling, describe, has_rasterio, pixel_metres
from rs_mm.registry import INFERENCERS
from rs_mm.structures import EpisodeDataSample

from .result import FewShotMask
from .scenes import OpenScene, SceneVotes, TilePlan
from .support_masks import read_mask
from .supports import Supports


@INFERENCERS.register_module()
class FewShotSegmenter:
    """A trained few-shot segmenter for your own class and images.

    Args:
        config: name or path of a config of ``configs/sccnet``, or a config.
        checkpoint: its weights. Default: the initial weights of the config.
        device: ``cpu``, ``cuda``, ... Default: CUDA if available.
        options: overrides of the config, as for the tools.
        bands: 0-based bands of raster files for red, green and blue. Default: the first
            three.
        backend: the back end of the network: ``torch``, ``bfloat16``, ``onnx``, or the folder of an
            export; see :func:`~rs_mm.apis.backends.use_backend`.

    Raises:
        MissingFileError, CheckpointError: the config or the checkpoint is missing or does not fit.
        ConfigError: the config is for another task.

    Example:
        >>> from rs_mm.apis import FewShotSegmenter
        >>> segmenter = FewShotSegmenter('configs/sccnet/….py', 'best_mIoU.pth')
        >>> segmenter.fit(['tank1.png', 'tank2.png'], ['mask1.png', 'mask2.png'])
        >>> segmenter('harbour.png').save('found')
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        options: dict | list[str] | None = None,
        bands: Sequence[int] | None = None,
        backend: str | Path = 'torch',
    ) -> None:
        loaded = load_model(
            config,
            checkpoint,
            device,
            options,
            asked_by=type(self).__name__,
            needs='encode_supports',
            needed_for='needs a model that segments by examples, such as those of configs/sccnet',
        )
        use_backend(loaded, backend)
        self.model, self.name = loaded.model, loaded.name
        self.load_step, *steps = build_pipeline(tested_pipeline(loaded.cfg))
        self.steps = Compose(steps)
        self.bands = None if bands is None else list(bands)
        self.supports: Supports | None = None
        self._encoded = None

    def fit(
        self,
        images: Any,
        masks: Any,
        class_value: int | Sequence[int] | None = None,
        class_name: str = 'object',
    ) -> FewShotSegmenter:
        """Stores the supports of the class to find; their features are computed once.

        Args:
            images: one support or a list: paths, arrays (H, W, C), Pillow images, rasterio
                datasets, each of its own size.
            masks: one mask for each image; see :func:`~.support_masks.read_mask`.
            class_value: number or colour of the class in the masks. Default: all values except 0.
            class_name: name for pictures and tables.

        Returns:
            The segmenter itself.

        Raises:
            DataError: there is no support, or a mask is empty, has another size, or lacks the
                class.
        """
        if is_many(images) and not len(images):
            raise DataError('there is no support; give at least one image with its mask.')
        pictures = as_pictures(images)
        masks = list(masks) if is_many(masks) else [masks]
        if len(masks) != len(pictures):
            raise DataError(f'{len(pictures)} supports need as many masks, but {len(masks)} came.')
        read = [self._read_support(*pair, class_value) for pair in zip(pictures, masks)]
        prepared = [self._prepare(*pair) for pair in read]
        names = [picture.name for picture in pictures]
        for name, sample in zip(names, prepared):
            _check_still_there(name, sample['data_samples'].support_mask)
        self._set_supports(
            Supports(
                images=torch.cat([sample['inputs']['support'] for sample in prepared]),
                masks=torch.cat([sample['data_samples'].support_mask for sample in prepared]),
                names=names,
                sizes=[image.shape[:2] for image, _ in read],
                pixel_metres=[picture_metres(picture) for picture in pictures],
                class_name=class_name,
            )
        )
        return self

    def save(self, path: str | Path) -> None:
        """Writes the supports to a file that :meth:`load` reads."""
        self.fitted().save(path)

    def load(self, path: str | Path) -> FewShotSegmenter:
        """Takes the supports from a file of :meth:`save`, instead of :meth:`fit`."""
        self._set_supports(Supports.load(path))
        return self

    def __call__(
        self,
        images: Any,
        tile: int | None = None,
        overlap: int | None = None,
        scale: float | str = 'auto',
        whole: bool = False,
        batch_size: int = 4,
    ) -> FewShotMask | list[FewShotMask]:
        """Finds the class in images and scenes.

        An image about as large as the supports is resized as a whole, as in a test. A larger image
        is cut into overlapping tiles that show as much as a support; see :class:`~.scenes.TilePlan`
        for ``tile``, ``overlap``, ``scale`` and ``whole``.

        Args:
            images: one image or a list: paths, arrays (H, W, C), Pillow images, rasterio datasets.
            tile, overlap, scale, whole: how scenes are cut.
            batch_size: images or tiles per pass of the backbone.

        Returns:
            A result, or a list in the order of the images.

        Raises:
            ConfigError: there are no supports yet.
            DataError, MissingFileError: an image cannot be used, or is smaller than a tile.
        """
        plan = TilePlan(tile, overlap, scale, whole, batch_size)
        found: list[FewShotMask | None] = []
        waiting: list[tuple[int, Picture]] = []  # images that are not cut
        for number, picture in enumerate(as_pictures(images)):
            with self.open(picture) as scene:
                tiling = plan.tiling(scene.grid, self.fitted(), scene.name)
                found.append(None if tiling is None else self._find_in_scene(scene, tiling, plan))
            waiting += [(number, picture)] if tiling is None else []
        for start in range(0, len(waiting), batch_size):
            numbers, group = zip(*waiting[start : start + batch_size])
            results = self._find(group, [self.read(picture) for picture in group])
            for number, result in zip(numbers, results):
                found[number] = result
        return found if is_many(images) else found[0]

    def open(self, picture: Picture) -> OpenScene:
        """Opens an image for reading window by window."""
        return OpenScene(picture, to_rgb, self.bands)

    def read(self, picture: Picture) -> np.ndarray:
        """Reads an image by the loading step of the config: (H, W, 3) uint8 RGB."""
        if picture.array is not None:
            return to_rgb(picture.array, picture.name)
        if self.bands is not None:
            with self.open(picture) as scene:
                return scene.read(*(slice(0, length) for length in scene.grid.shape))[0]
        return self.load_step(_episode(picture.path))['query_read']['img']

    def votes(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Computes votes and probability of images, each at its own size.

        Args:
            images: (H, W, 3) uint8 RGB each.

        Returns:
            For each image (2, H, W) float32 in [0, 1]: the share of the supports that vote for the
            class, and the probability; enlarged linearly if the pipeline resized the image. With
            a post-processor a third map, the refined mask of the image.
        """
        logits = self._logits(images)
        votes = logits.argmax(2)
        maps = torch.stack([votes.float().mean(1), logits.softmax(2)[:, :, 1].mean(1)], 1)
        found = []
        masks = vote(votes, cast(float, self.model.vote_threshold))[0]
        for image, own, mask in zip(images, maps, masks):
            both = [_resized(part[None, None], image.shape[:2], 'bilinear') for part in own]
            if self.model.post_processor is not None:
                mask = self._fuse(mask, image)
                both.append(_resized(mask[None, None], image.shape[:2], 'nearest'))
            found.append(np.stack(both))
        return found

    def scene_votes(
        self,
        scene: OpenScene,
        tiling: Tiling,
        scratch: Scratch,
        batch: int = 4,
        progress: bool = False,
    ) -> SceneVotes:
        """Returns the votes over a scene, computed tile by tile; see
        :class:`~.scenes.SceneVotes`."""
        threshold = cast(float, self.model.vote_threshold)
        found = SceneVotes(scene, tiling, self.votes, threshold, scratch, batch, progress)
        found.run()
        return found

    def _find_in_scene(self, scene, tiling, plan):
        with tempfile.TemporaryDirectory() as folder:
            votes = self.scene_votes(scene, tiling, Scratch(Path(folder) / 'tiles', {}), plan.batch)
            _, masks, shares, probabilities = zip(*votes.strips())
        whole = tuple(slice(0, length) for length in scene.grid.shape)
        return FewShotMask(
            mask=np.concatenate(masks),
            votes=np.concatenate(shares) * len(self.supports),
            probability=np.concatenate(probabilities),
            image=scene.read(*whole)[0],
            name=scene.picture.name,
            class_name=self.supports.class_name,
            supports=self.shown_supports(),
            grid=scene.grid,
        )

    def fitted(self) -> Supports:
        """Returns the supports, or raises an error if there are none."""
        if self.supports is None:
            raise ConfigError('there are no supports yet: call fit(images, masks) or load(file).')
        return self.supports

    def _read_support(self, picture, mask, class_value):
        image = self.read(picture)
        return image, read_mask(mask, picture, image.shape[:2], class_value)

    def _prepare(self, image, label=None):
        """Runs the pipeline on one image as the query, or with its label as the only support."""
        read = dict(img=image, label=None if label is None else label)
        episode = _episode('')
        episode['query_read'] = dict(read, label=None)
        episode['supports_read'] = [] if label is None else [read]
        return self.steps(episode)

    def _set_supports(self, supports):
        images = self._normalise('support', [supports.images])[0]
        self._encoded = self.model.encode_supports(images, supports.masks)
        self.supports = supports

    def _normalise(self, kind, images):
        return self.model.data_preprocessor(dict(inputs={kind: images}))['inputs'][kind]

    @torch.no_grad()
    def _logits(self, images):
        """Returns logits (B, K, 2, h, w) at the size of the pipeline."""
        self.fitted()
        inputs = [self._prepare(image)['inputs']['query'] for image in images]
        if len({tensor.shape for tensor in inputs}) > 1:  # a pipeline that does not resize
            raise DataError('images of several sizes cannot be one batch; set batch_size=1.')
        return self.model.segment(self._normalise('query', inputs), self._encoded)

    def _find(self, pictures, images):
        logits = self._logits(images)
        masks, votes = vote(logits.argmax(2), cast(float, self.model.vote_threshold))
        probability = logits.softmax(2)[:, :, 1].mean(1)
        masks = [self._fuse(*pair) for pair in zip(masks, images)]
        shown = self.shown_supports()
        grids = [self._grid(*pair) for pair in zip(pictures, images)]
        return [
            FewShotMask(
                grid=grids[i],
                mask=_resized(masks[i][None, None], size, 'nearest').astype(np.uint8),
                votes=_resized(votes[i][None, None], size, 'nearest'),
                probability=_resized(probability[i][None, None], size, 'bilinear'),
                image=images[i],
                name=pictures[i].name,
                class_name=self.supports.class_name,
                supports=shown,
            )
            for i, size in enumerate(image.shape[:2] for image in images)
        ]

    @staticmethod
    def _grid(picture, image):
        if picture.path is not None and has_rasterio():
            return Grid.of(describe(picture.path))
        return Grid(*image.shape[:2], picture.transform, picture.crs)

    def _fuse(self, mask, image):
        """Applies the post-processor of the config, e.g. spectral fusion, to one predicted mask."""
        if self.model.post_processor is None:
            return mask
        sample = EpisodeDataSample(metainfo=dict(query_name='the image'))
        sample.pred_mask, sample.query_pixels = mask, image
        return self.model.post_processor(sample)

    def shown_supports(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns images and masks of the supports, for pictures."""
        supports = self.fitted()
        images = supports.images.permute(0, 2, 3, 1).numpy()
        return list(zip(np.ascontiguousarray(images), supports.masks.numpy()))


def to_rgb(array: np.ndarray, name: str) -> np.ndarray:
    """Converts an array to (H, W, 3) uint8 RGB: a single band is repeated, a fourth (alpha) is
    dropped.

    Raises:
        DataError: the array has another number of bands, or values beyond 8 bits.
    """
    count = array.shape[2]
    if count not in (1, 3, 4):
        raise DataError(
            f'{name} has {count} bands, but the model takes 3; choose them, e.g. '
            'array[..., [2, 1, 0]].'
        )
    if array.dtype != np.uint8:
        if array.min() < 0 or array.max() > 255:
            raise DataError(
                f'{name} holds {array.dtype} values from {array.min()} to {array.max()}, but the '
                'model takes 0 to 255; stretch them first (rs_mm.rasters.to_uint8).'
            )
        array = array.astype(np.uint8)
    return np.ascontiguousarray(np.repeat(array, 3, 2) if count == 1 else array[..., :3])


def picture_metres(picture: Picture) -> float | None:
    """Returns the ground size of a pixel in metres; None if it is unknown."""
    if picture.path is not None:
        return pixel_metres(Grid.of(describe(picture.path))) if has_rasterio() else None
    return pixel_metres(
        Grid(picture.array.shape[0], picture.array.shape[1], picture.transform, picture.crs)
    )


def _check_still_there(name, mask):
    if not mask.any():
        raise DataError(
            f'the class vanishes when the support {name} is resized to {mask.shape[2]} x '
            f'{mask.shape[1]}; cut a smaller part out of it.'
        )


def _episode(path):
    """Returns the input of the pipeline of episodes for one image."""
    return dict(
        query='image',
        query_files=(path, None),
        supports=[],
        support_files=[],
        class_id=0,
        class_name='object',
        sample_idx=0,
    )


def _resized(maps, size, mode):
    """Resizes (1, 1, h, w) to a numpy array (H, W) float32."""
    maps = maps.float()
    if tuple(maps.shape[2:]) != tuple(size):
        maps = F.interpolate(maps, size, mode=mode)
    return maps[0, 0].cpu().numpy()
