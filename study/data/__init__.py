"""Real datasets: loading, splits with a sealed test set, preprocessing, augmentation."""
