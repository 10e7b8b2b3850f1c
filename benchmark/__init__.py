"""Suites to cells to runs: expands, launches, resumes and reports."""
