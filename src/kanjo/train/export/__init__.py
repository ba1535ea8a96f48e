"""Export to ONNX, quantization and verification."""
