"""What is written from declarations elsewhere: `make generate` writes it, a test demands it."""
