"""Break-glass: emergency releases sealed, opened by two officers, closed, reviewed (``contracts.release.emergency``)."""
