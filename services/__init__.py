"""Reference governed services: each acts only on a permit of the sidecar beside it."""
