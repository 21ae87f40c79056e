# KNN searches the training images embedded afresh by the tested model instead of the memory; this
# also scores an untrained model.
_base_ = './sndl-bce_resnet18_64_20e_aid.py'

reference = dict(_base_.test_dataloader)
reference['dataset'] = dict(reference['dataset'], split=dict(_base_.split, subset='train'))
default_hooks = dict(knn_reference=dict(dataloader=reference))
