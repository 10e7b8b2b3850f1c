"""What is done with a plan: run it here, submit it, report on it, rebuild its tables."""
