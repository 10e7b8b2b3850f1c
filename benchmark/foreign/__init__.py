"""Masks that another tool predicted become cells like any other."""
