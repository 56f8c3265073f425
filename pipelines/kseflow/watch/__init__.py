"""How the copy and the set-up are: status, check, doctor."""
