_base_ = './weicom_remoteclip-vit-l14_patterncom.py'

test_evaluator = dict(lambdas=[0.5])
