"""One cell in one process: its config, checkpoints, owner, rows and pictures."""
