"""The command line ``vecferry``: one command per file."""

from .main import main

__all__ = ["main"]
