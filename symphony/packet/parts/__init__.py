"""The sections of ``verify.py``: standard library and ``cryptography`` only, joined into one file by ``build``.

Each section imports the others by name only (``from symphony.packet.parts.x import name``), and no top-level name
stands in two sections; a test runs the joined file by itself.
"""
