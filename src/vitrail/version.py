"""Version of vitrail."""

__version__ = "0.1.0"
