"""What happened: taxpayers, their sessions and invoices, drawn from a seed. Knows no HTTP."""
