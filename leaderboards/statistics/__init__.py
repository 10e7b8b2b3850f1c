"""What is computed from the rows: intervals, comparisons, generalisation, subgroups."""
