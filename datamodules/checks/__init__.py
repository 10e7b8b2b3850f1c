"""Is the data what the benchmark takes it for? Faults, suspect masks, films that stand twice."""
