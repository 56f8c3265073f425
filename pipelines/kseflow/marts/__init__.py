"""The SQL models: built, tested and published."""
