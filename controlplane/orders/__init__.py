"""Officers' orders: issued by one, lifted by the threshold, served to sidecars in their order (design section 4)."""
