"""Building networks and reading their weights."""
