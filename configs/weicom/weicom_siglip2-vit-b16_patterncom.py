# SigLIP 2 resizes to a square without cropping, maps to -1 to 1, and has a tokenizer of its own.
_base_ = './weicom_clip-vit-l14_patterncom.py'

model = dict(
    arch='ViT-B-16-SigLIP2',
    init_cfg=dict(checkpoint='models/ViT-B-16-SigLIP2/open_clip_model.safetensors'),
    tokenizer='models/ViT-B-16-SigLIP2',
)
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadRGBImage'),
            dict(
                type='OpenCLIPPreprocess',
                size=224,
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
                resize_mode='squash',
            ),
            dict(type='PackEmbeddingInputs'),
        ]
    )
)
