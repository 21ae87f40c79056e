# PASCAL-5i, fold 0.
_base_ = './fss_5i.py'

dataset_type = 'Pascal5iDataset'
data_root = 'data/VOC2012'
dataset = dict(type=dataset_type, data_root=data_root, fold=0)

train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
