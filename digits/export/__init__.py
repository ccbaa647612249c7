"""Exports: a trained network as a Paddle inference model, an ONNX file or an HTML page."""
