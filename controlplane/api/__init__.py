"""HTTP of the control plane: bodies, answers, errors."""
