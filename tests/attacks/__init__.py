"""The attack suite: one attack a test, one reason code each, against a real repository and a real follower (issue 5).

The attacker begins as the hostile operator: he owns the control plane and holds its online keys (snapshot, timestamp,
log). What else he holds, a test gives him by name: ``attacker.steals("bruno")``. Each test ends with
``attacker.is_refused()``: the exact code, the release in force and the durable record unchanged, the refusal reported
with number and code, and a restart comes back to the release that was in force.

``@attack(what, by=…, code=…)`` makes a row of docs/reference/attacks.md (``python -m tests.attacks`` writes the page);
attacks whose tests stand in other folders are listed in ``elsewhere``. ``test_index`` holds page, tests and codes together.
"""
