"""Where images come from: MNIST, folders, splits, augmentation, synthetic images."""
