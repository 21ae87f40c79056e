from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'pre_activation': ['PreActivationBackbone'],
        'simple_pyramid': ['SimpleFeaturePyramid'],
        'swin': ['SwinTransformer'],
        'timm_encoder': ['TimmEncoder'],
        'token_maps': ['TokenMapBackbone'],
        'torchgeo_encoder': ['TorchGeoEncoder'],
        'vitae_v2': ['ViTAE_Window_NoShift_basic'],
    },
)
