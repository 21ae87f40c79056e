from .pre_activation import PreActivationBackbone
from .swin import SwinTransformer
from .timm_encoder import TimmEncoder
from .vitae_v2 import ViTAE_Window_NoShift_basic

__all__ = ['PreActivationBackbone', 'SwinTransformer', 'TimmEncoder', 'ViTAE_Window_NoShift_basic']
