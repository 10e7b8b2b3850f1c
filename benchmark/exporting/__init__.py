"""Models that leave the house: a finished cell's network as a file that needs no cell."""
