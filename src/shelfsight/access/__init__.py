"""Who may do what: administrators, tokens, scopes, rate limits, audit."""
