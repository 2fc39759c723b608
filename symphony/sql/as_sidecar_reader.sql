-- Reports read under the reader's role, never on the hot path's login (EVD-13).
SET LOCAL ROLE symphony_reader
