"""Who may ask the reader, and for what: keys, tokens, and the scopes that they come with."""
