"""The custodians' side of trust: a plan of keys, drafts to sign, changes of keys, what is published and how it stands.

Every signature is made on its owner's own machine; files go round, keys do not. Import from the modules.
"""
