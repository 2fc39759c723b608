"""An emptied database of a sidecar, shared by the tests of this folder."""

from tests.sidecar.conftest import bench, emptied

__all__ = ["bench", "emptied"]
