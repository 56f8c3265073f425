"""The raw tables, and how KSeF's JSON becomes their rows."""
