-- A migration's text, run where the server refuses transaction commands (INV-002).
BEGIN EXECUTE {body}; END
