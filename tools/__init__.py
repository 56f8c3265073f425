"""What is written from elsewhere: from declarations by `make generate`, from KSeF's contract."""
