"""One module per technology: segmentation-models-pytorch, Lightning, ONNX, albumentations."""
