"""The control plane: releases as TUF metadata, their custody, the fleet, the evidence log (design section 4 and 9).

Who owns its database and online keys can deny service; he cannot change what a sidecar enforces.
"""
