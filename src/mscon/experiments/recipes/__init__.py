"""Studies, methods and what they share, as TOML."""
