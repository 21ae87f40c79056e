# WHDLD: Images/NAME.jpg and {train,val,test}.csv
_base_ = './ml_256.py'

data_root = 'data/WHDLD'
num_classes = 6
dataset = dict(data_root=data_root, classes='whdld', img_dirs=['Images'])

train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
