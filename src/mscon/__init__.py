"""mscon: one embedding from several notions of similarity."""

__version__ = "0.1.0.dev0"
