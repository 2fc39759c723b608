"""What the Makefile and .ci/run call: set up, build tools, lint SQL, check documents and counts."""
