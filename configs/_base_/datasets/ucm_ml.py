# UCM: Images/NAME.tif (or a folder per scene class) and {train,val,test}.csv
_base_ = './ml_256.py'

data_root = 'data/UCM'
num_classes = 17
dataset = dict(data_root=data_root, classes='ucm', img_dirs=['Images', 'Images/*'])

train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
