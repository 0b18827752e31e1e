"""What takes time: the only modules that import Numba."""
