"""What changes between two releases, in words and as JSON, computed from verified bytes on the officer's own machine.

model      a change and its effect      meaning    the one table: which field means what, and which way is looser
documents  JSON documents, walked       rego       rules and lines of the policy      build  a whole release      text  the screen
"""
