"""A soak test that anybody can run: kills, damages and full disks, and the rows all the same."""
