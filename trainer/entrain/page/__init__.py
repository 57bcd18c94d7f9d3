"""The page of a run: a live view in a browser, an API for programs, metrics to scrape."""
