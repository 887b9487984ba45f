"""Export to ONNX, LiteRT and SavedModel."""
