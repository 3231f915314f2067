"""Systems of others that Shelfsight talks to: one module or package each."""
