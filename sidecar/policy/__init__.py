"""Station 3, decide: the release's policy in Wasm, one answer for each instruction (POL-10, POL-12, POL-16)."""
