"""Helpers that tests of several sides share."""
