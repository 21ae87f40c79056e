# With spectral fusion, as in the paper's table; missing eigenvectors are computed during the test
_base_ = './sccnet_resnet50_256_200k_isaid_fold0.py'

model = dict(
    post_processor=dict(
        type='SpectralFusion',
        mode='fuse',
        eig_dir='data/iSAID/eigenvectors/resnet50',
        decomposition=dict(
            type='SpectralDecomposition', arch='resnet50', checkpoint='torchvision://resnet50'
        ),
    )
)
