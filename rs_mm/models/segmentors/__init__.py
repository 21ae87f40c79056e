from .few_shot_segmentor import FewShotSegmentor
from .seg_tta import SegTTAModel
from .siam_encoder_decoder import SiamEncoderDecoder

__all__ = ['FewShotSegmentor', 'SegTTAModel', 'SiamEncoderDecoder']
