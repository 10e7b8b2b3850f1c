"""Where cells run: on this machine, or on a SLURM cluster."""
