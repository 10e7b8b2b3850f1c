"""What papers and peers reported, as YAML files; ``leaderboards.published.reported`` reads them."""
