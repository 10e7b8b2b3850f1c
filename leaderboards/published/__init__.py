"""What papers and peers reported, as YAML files; ``leaderboards.papers`` reads them."""
