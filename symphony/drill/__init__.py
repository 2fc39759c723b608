"""Drills: the real procedures for a bad day, on a scratch repository and control plane of their own, timed and reported."""
