# UCM multi-label: Images/SCENE/NAME.tif or Images/NAME.tif, the published seeded 70/10/20 % split.
# OML's configs read the same folder.
_base_ = './grn_256.py'

data_root = 'data/UCM'
num_images, num_classes = 1470, 17  # for training
dataset = dict(data_root=data_root, img_dirs=['Images/*', '*'], label_table='ucm')
split = dict(type='SceneSplit', expected=2100)

train_dataloader = dict(dataset=dict(split=dict(subset='train', **split), **dataset))
val_dataloader = dict(dataset=dict(split=dict(subset='val', **split), **dataset))
test_dataloader = dict(dataset=dict(split=dict(subset='test', **split), **dataset))
