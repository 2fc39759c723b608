"""Rails: the adapter contract (``sdk``) and the adapters, each a process of its own. Imports only ``contracts``."""
