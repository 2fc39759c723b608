"""The officers' side of a release: key ceremony, propose, review, approve, promote, roll back, revoke.

Everything is checked and signed on the officer's own machine; no key is ever used by a page that the server serves.
Import from the modules: ``from symphony.release.propose import propose``.
"""
