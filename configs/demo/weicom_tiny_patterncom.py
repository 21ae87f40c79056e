# A demo that takes seconds on a CPU, with a generated dataset and random weights. It runs every
# step. The random image tower already finds similar scenes; the random text tower does not
# understand words.
#   python tools/dataset_converters/make_fake.py patternnet data/demo/PatternNet
#   python tools/test.py configs/demo/weicom_tiny_patterncom.py --show-dir work_dirs/weicom_demo
_base_ = '../weicom/weicom_clip-vit-l14_patterncom.py'

data_root = 'data/demo/PatternNet'
model = dict(
    arch=dict(
        _delete_=True,
        embed_dim=128,
        vision_cfg=dict(image_size=64, layers=2, width=128, head_width=32, patch_size=16),
        text_cfg=dict(context_length=77, vocab_size=49408, width=64, heads=2, layers=2),
    ),
    init_cfg=None,
)
test_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='LoadRGBImage'),
            dict(type='OpenCLIPPreprocess', size=64),
            dict(type='PackEmbeddingInputs'),
        ],
    ),
)
test_evaluator = dict(queries=dict(data_root=f'{data_root}/PatternCom'))
