# KNN does not search the memory but the training images, embedded again by the tested model. So an
# untrained model has a score too.
_base_ = './sndl-bce_resnet18_64_20e_aid.py'

reference = dict(_base_.test_dataloader)
reference['dataset'] = dict(reference['dataset'], split=dict(_base_.split, subset='train'))
custom_hooks = [_base_.custom_hooks[0], dict(type='KNNReferenceHook', dataloader=reference)]
