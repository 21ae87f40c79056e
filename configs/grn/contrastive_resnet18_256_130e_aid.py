# A comparison without memory: KNN searches the training images, embedded again for the test.
_base_ = './sndl_resnet18_256_130e_aid.py'

reference = dict(_base_.test_dataloader)
reference['dataset'] = dict(reference['dataset'], split=dict(_base_.split, subset='train'))
custom_hooks = [dict(type='KNNReferenceHook', dataloader=reference)]
model = dict(losses=[dict(type='PairContrastiveLoss', margin=1.5)])
