from .seg_tta import SegTTAModel
from .siam_encoder_decoder import SiamEncoderDecoder

__all__ = ['SegTTAModel', 'SiamEncoderDecoder']
