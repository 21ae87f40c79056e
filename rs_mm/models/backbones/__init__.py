from .pre_activation import PreActivationBackbone
from .simple_pyramid import SimpleFeaturePyramid
from .swin import SwinTransformer
from .timm_encoder import TimmEncoder
from .token_maps import TokenMapBackbone
from .torchgeo_encoder import TorchGeoEncoder
from .vitae_v2 import ViTAE_Window_NoShift_basic

__all__ = [
    'PreActivationBackbone',
    'SimpleFeaturePyramid',
    'SwinTransformer',
    'TimmEncoder',
    'TokenMapBackbone',
    'TorchGeoEncoder',
    'ViTAE_Window_NoShift_basic',
]
