"""Trained cells on films of a user's own: a folder of them, or one at a time on a local page."""
