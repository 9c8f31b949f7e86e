"""Backends on TensorFlow: parts that several models share stand here, each model in a folder of its own."""
