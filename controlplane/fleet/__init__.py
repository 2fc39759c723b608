"""What each sidecar and ledger says that it runs, against what is active here."""
