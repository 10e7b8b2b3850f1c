"""What a paper takes over: a LaTeX table, a methods paragraph, references."""
