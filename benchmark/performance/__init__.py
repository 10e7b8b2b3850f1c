"""``lungbench perf``: what matters here beside what a user would pick instead, as ratios."""
