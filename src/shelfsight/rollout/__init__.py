"""Who gets which version: stages, buckets, and what the evidence says."""
