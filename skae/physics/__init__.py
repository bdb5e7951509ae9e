"""Formulas and geometries that several rooms share: NumPy and SciPy alone."""
