"""KSeF over HTTP; knows no table."""
