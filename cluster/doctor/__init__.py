"""Looking for what would make jobs fail or crawl, before they do: each check says what to do about it."""
