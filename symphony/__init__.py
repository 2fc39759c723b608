"""The command line and the local stack: may import every side, nobody imports it."""
