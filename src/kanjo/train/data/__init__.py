"""Training data: corpora, audio cache, datasets, augmentation and embedding caches."""
