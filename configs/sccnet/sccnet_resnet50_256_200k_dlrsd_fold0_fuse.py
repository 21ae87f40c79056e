_base_ = './sccnet_resnet50_256_200k_dlrsd_fold0.py'

model = dict(
    post_processor=dict(
        type='SpectralFusion',
        mode='fuse',
        eig_dir='data/DLRSD/eigenvectors/resnet50',
        decomposition=dict(
            type='SpectralDecomposition', arch='resnet50', checkpoint='torchvision://resnet50'
        ),
    )
)
