_base_ = './weicom_clip-vit-l14_patterncom.py'

test_evaluator = dict(lambdas=[0.3])
