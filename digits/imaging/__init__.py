"""Normalize any image to MNIST format. Imports numpy, OpenCV and Pillow, but not Paddle."""
