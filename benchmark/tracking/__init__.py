"""Weights & Biases: a run for each cell, and one for a leaderboard."""
