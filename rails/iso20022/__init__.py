"""The ISO 20022 adapter: a process of its own that turns pacs.008 into canonical instructions and posts on the ledger.

It alone holds the rail's credentials (SEC-15). ``python -m rails.iso20022 --config FILE``.
"""
