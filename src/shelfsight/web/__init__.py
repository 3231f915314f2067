"""Pages: what people and tills see in a browser."""
