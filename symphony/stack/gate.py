def invariants_document():
    return {"schema": "symphony.invariants/1", "invariants": [{"id": "INV-014", "status": "implemented", "severity": "P0", "title": "x"}]}
def check_stack(layout):
    return ["INV-014"], []
