"""``fastconv train``."""


def register(commands) -> None:
    """Add the sub-command."""
