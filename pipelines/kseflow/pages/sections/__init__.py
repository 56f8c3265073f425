"""What is told, a topic a file: its sections, the queries they alone ask, their sentences."""
