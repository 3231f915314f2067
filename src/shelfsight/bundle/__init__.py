"""A recogniser as files: one description of the network, written as TensorFlow.js, ONNX and ORT."""
