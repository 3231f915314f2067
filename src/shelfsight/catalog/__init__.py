"""Products and their pictures: what a channel sells and what it looks like."""
