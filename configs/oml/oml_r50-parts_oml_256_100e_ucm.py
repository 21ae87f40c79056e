# Part-based head: whole map and 2 x 2 quarters, each with a BNNeck of 256 dimensions.
_base_ = './oml_r50_oml_256_100e_ucm.py'
model = dict(
    head=dict(
        type='PartHead',
        part_dims=256,
        splits=[[1, 1, 1], [1, 2, 2]],
        # smaller images: parts that a small map does not have are left out, as published
        skip_missing_parts=True,
    )
)
