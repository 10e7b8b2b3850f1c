"""Masks that another tool predicted, read from their folders onto the grid that is scored."""
