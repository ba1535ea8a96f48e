"""Inference: from a recording or a live stream to a prediction, in ONNX Runtime."""
