"""Case ids of the official releases, one a line."""
