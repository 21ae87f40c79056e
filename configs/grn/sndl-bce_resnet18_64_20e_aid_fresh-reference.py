# KNN searches the training images embedded afresh by the tested model instead of the memory; this
# also scores an untrained model.
_base_ = './sndl-bce_resnet18_64_20e_aid.py'

reference = dict(_base_.test_dataloader)
reference['dataset'] = dict(reference['dataset'], split=dict(_base_.split, subset='train'))
custom_hooks = [_base_.custom_hooks[0], dict(type='KNNReferenceHook', dataloader=reference)]
