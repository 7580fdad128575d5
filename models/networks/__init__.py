"""Network architectures, in torch. Only training imports this package; serving runs the exported ONNX graph."""
