"""The sidecar beside one rail adapter: stations 1 to 8 of a payment, one folder each (design section 3)."""
