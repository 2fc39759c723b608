"""Tests of the sidecar's core: judging, recording, dispatching, recovering."""
