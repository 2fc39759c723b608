"""Figures, each beside something to compare it with in the same run. ``python -m benchmarks`` runs them all."""
