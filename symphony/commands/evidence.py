import click
@click.group()
def evidence(): pass
