"""Station 8: the shipper reads evidence, seals it, and sends it to the control plane's log."""
