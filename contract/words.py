"""The project's vocabulary, used in code, YAML files, table columns and pages alike."""

from __future__ import annotations

BACKGROUND = "background"
STRUCTURES = ("lungs", "left_lung", "right_lung", "heart")
"""Structures that are scored. ``left_lung`` is the patient's left, at the image's right."""

REFERENCES = ("plain", "dilated", "automatic", "pseudo")
UNITS = ("image", "slice", "scan")
STATES = ("pending", "queued", "running", "done", "failed", "no_data", "stale")
GALLERY_FORMAT = 1
"""The form of a cell's ``gallery.json``, which the page must know to show it."""
