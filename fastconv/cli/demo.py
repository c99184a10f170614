"""``fastconv demo``."""


def register(commands) -> None:
    """Add the sub-command."""
