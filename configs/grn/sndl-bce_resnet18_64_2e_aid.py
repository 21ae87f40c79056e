# SNDL-BCE under the schedule of ../oml/oml_r18_bce_64_2e_aid.py.
_base_ = '../oml/oml_r18_bce_64_2e_aid.py'

num_images = 2100
memory = dict(type='FeatureBank', size=num_images, dim=128, num_classes=_base_.num_classes)
model = dict(
    head=dict(_delete_=True, type='GRNHead', embed_dims=128, num_classes=_base_.num_classes),
    losses=[
        dict(type='SNDLoss', temperature=0.05, memory=memory),
        dict(type='MultiLabelBCELoss'),
    ],
)
custom_hooks = [dict(type='FeatureBankHook', momentum=[(0, 0.5)]), *_base_.custom_hooks]
