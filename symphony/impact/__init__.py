"""What a candidate release would have decided of what was recorded: flips counted and valued (design section 4, CHECKED).

    source     recorded decisions out of a sidecar's database, one snapshot, in slices
    replay     the candidate asked again with the frozen inputs, by the sidecar's own engine
    run        all slices, in one process or several
    model      the count, and the report as a document
    gate       ``--fail-if`` expressions
    formats    the report as text, JSON, Markdown
    bound      the report's digest in a proposal
"""
