"""Data transforms; importing this package registers all of them."""

from .band_augment import (
    RandomEraseBands,
    RandomFlipRotateBands,
    RandomPhotometricBands,
    TorchvisionTransforms,
)
from .band_images import LoadBandImage, NormalizeBands, ResizeBands, ScaleBands
from .clip_images import LoadRGBImage, OpenCLIPPreprocess
from .colour import RandomColour
from .embedding import PackEmbeddingInputs
from .episodes import LoadEpisode, PackEpisode, RandomFlipRotateEpisode, ResizeEpisode
from .multi_img_geometric import (
    MultiImgExchangeTime,
    MultiImgPad,
    MultiImgRandomCrop,
    MultiImgRandomCutOut,
    MultiImgRandomFlip,
    MultiImgRandomResize,
    MultiImgRandomRotate,
    MultiImgRandomRotFlip,
    MultiImgResize,
    MultiImgResizeShortestEdge,
    MultiImgResizeToMultiple,
)
from .multi_img_loading import (
    MultiImgLoadAnnotations,
    MultiImgLoadImageFromFile,
    MultiImgLoadImageFromNDArray,
    MultiImgLoadTiff,
)
from .multi_img_packing import MultiImgPackSegInputs
from .multi_img_photometric import (
    MultiImgAdjustGamma,
    MultiImgAlbu,
    MultiImgCLAHE,
    MultiImgNormalize,
    MultiImgPhotoMetricDistortion,
    MultiImgRerange,
    MultiImgRGB2Gray,
)

__all__ = [
    'LoadBandImage',
    'LoadEpisode',
    'LoadRGBImage',
    'MultiImgAdjustGamma',
    'MultiImgAlbu',
    'MultiImgCLAHE',
    'MultiImgExchangeTime',
    'MultiImgLoadAnnotations',
    'MultiImgLoadImageFromFile',
    'MultiImgLoadImageFromNDArray',
    'MultiImgLoadTiff',
    'MultiImgNormalize',
    'MultiImgPackSegInputs',
    'MultiImgPad',
    'MultiImgPhotoMetricDistortion',
    'MultiImgRGB2Gray',
    'MultiImgRandomCrop',
    'MultiImgRandomCutOut',
    'MultiImgRandomFlip',
    'MultiImgRandomResize',
    'MultiImgRandomRotFlip',
    'MultiImgRandomRotate',
    'MultiImgRerange',
    'MultiImgResize',
    'MultiImgResizeShortestEdge',
    'MultiImgResizeToMultiple',
    'NormalizeBands',
    'OpenCLIPPreprocess',
    'PackEmbeddingInputs',
    'PackEpisode',
    'RandomColour',
    'RandomEraseBands',
    'RandomFlipRotateBands',
    'RandomFlipRotateEpisode',
    'RandomPhotometricBands',
    'ResizeBands',
    'ResizeEpisode',
    'ScaleBands',
    'TorchvisionTransforms',
]
