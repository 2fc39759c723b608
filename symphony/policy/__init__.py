"""Checks that a policy must pass before it is proposed (POL-05, POL-10, POL-16; design section 5)."""
