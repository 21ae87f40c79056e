from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'few_shot_segmentor': ['FewShotSegmentor'],
        'seg_tta': ['SegTTAModel'],
        'siam_encoder_decoder': ['SiamEncoderDecoder'],
    },
)
