"""Data on disk to batches: readers, preprocessing, cache, splits and LightningDataModules."""
