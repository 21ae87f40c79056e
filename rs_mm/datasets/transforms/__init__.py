"""Data transforms."""

from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'band_augment': [
            'RandomEraseBands',
            'RandomFlipRotateBands',
            'RandomPhotometricBands',
            'TorchvisionTransforms',
        ],
        'band_images': ['LoadBandImage', 'NormalizeBands', 'ResizeBands', 'ScaleBands'],
        'clip_images': ['LoadRGBImage', 'OpenCLIPPreprocess'],
        'colour': ['RandomColour'],
        'embedding': ['PackEmbeddingInputs'],
        'episodes': ['LoadEpisode', 'PackEpisode', 'RandomFlipRotateEpisode', 'ResizeEpisode'],
        'keep_in_memory': ['KeepInMemory'],
        'multi_img_geometric': [
            'MultiImgExchangeTime',
            'MultiImgPad',
            'MultiImgRandomCrop',
            'MultiImgRandomCutOut',
            'MultiImgRandomFlip',
            'MultiImgRandomResize',
            'MultiImgRandomRotFlip',
            'MultiImgRandomRotate',
            'MultiImgResize',
            'MultiImgResizeShortestEdge',
            'MultiImgResizeToMultiple',
        ],
        'multi_img_loading': [
            'MultiImgLoadAnnotations',
            'MultiImgLoadImageFromFile',
            'MultiImgLoadImageFromNDArray',
            'MultiImgLoadTiff',
        ],
        'multi_img_packing': ['MultiImgPackSegInputs'],
        'multi_img_photometric': [
            'MultiImgAdjustGamma',
            'MultiImgAlbu',
            'MultiImgCLAHE',
            'MultiImgNormalize',
            'MultiImgPhotoMetricDistortion',
            'MultiImgRGB2Gray',
            'MultiImgRerange',
        ],
    },
)
