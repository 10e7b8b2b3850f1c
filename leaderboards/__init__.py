"""Rows of all cells → ranking → tables that a reader can trust. No torch here."""
