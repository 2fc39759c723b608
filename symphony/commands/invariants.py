import click


@click.group("invariants")
def command():
    pass
