"""Template, style and script of the HTML page; ``leaderboards.page.html`` reads them."""
