"""Batches to a trained generator to one row of metrics per case and structure."""
