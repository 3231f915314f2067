"""The config: which versions a channel's devices use, asked for often, prepared when something changes."""
