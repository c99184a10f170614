"""Web pages that need no network: each is one HTML text with its style, its scripts and its data inside."""
