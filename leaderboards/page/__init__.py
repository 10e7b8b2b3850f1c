"""Template, style and script of the HTML page; ``leaderboards.html`` reads them."""
