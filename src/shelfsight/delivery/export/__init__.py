"""Configs as files, for nginx or a CDN."""
