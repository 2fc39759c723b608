"""``symphony demo``: the story of one payment, told while it happens, on real parts."""
