"""Tests of station 1."""
