"""Any picture -> MNIST's form. Imports numpy, OpenCV and Pillow; no Paddle."""
