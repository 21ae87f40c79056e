_base_ = './sccnet_resnet50_256_200k_isaid_fold0.py'

test_dataloader = dict(dataset=dict(shots=5))
