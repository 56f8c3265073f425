"""Export packages: windows that touch, asked for, verified and unpacked."""
