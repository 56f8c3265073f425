"""The commands, each reading its options and calling one function; `kseflow.cli` names them."""
