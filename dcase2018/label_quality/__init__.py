"""Which labels are wrong, and their correction."""
