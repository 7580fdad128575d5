"""Floor 2: guarded decoding, the ONNX classifier, bundles and everything that makes them."""
