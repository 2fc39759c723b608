"""Exports: what an evidence packet is made of, streamed in parts (EVD-12); the packet itself is made by the reader."""
