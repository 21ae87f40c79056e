from .swin import SwinTransformer
from .timm_encoder import TimmEncoder
from .vitae_v2 import ViTAE_Window_NoShift_basic

__all__ = ['SwinTransformer', 'TimmEncoder', 'ViTAE_Window_NoShift_basic']
