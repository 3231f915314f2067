"""Photos in, a fitted recogniser and its quality report out."""
