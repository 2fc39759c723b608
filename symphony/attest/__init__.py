"""What a release was built from and with: SBOM, provenance and Sigstore bundle, made and looked at by officers (ATT-19)."""
