# BASIC and the methods that it is compared with.
_base_ = './weicom_remoteclip-vit-l14_xview2-cir.py'

test_evaluator = dict(
    methods=[
        'TextOnly',
        'ImageOnly',
        'SumFusion',
        dict(type='ProductFusion', clamp=True),
        'WeiCom',
        'BASIC',
        dict(type='BASIC', query_expansion=False),
    ],
    lambdas=[0.5],
)
