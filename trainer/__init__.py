"""Trains segmentation networks, exports them to ONNX and publishes them to Triton."""
