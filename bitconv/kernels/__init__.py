"""What takes time: the only modules that compile with Numba."""
