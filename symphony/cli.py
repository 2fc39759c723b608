"""``symphony``: the command line. Every command ends by the table of exit codes (design section 12).

0 pass, 1 violated or refused, 2 usage, 3 could not evaluate, 4 nothing was tested, 5 signature invalid, 6 missing.
What is asked for and not there (a release, a payment) is 1; a name or folder in an option that cannot be used is 2.
A user's mistake is one sentence and the next step, never a stack trace.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from contracts.errors import CannotEvaluate, Misused, NotTrusted, SymphonyError
from symphony.commands.lazy import LazyGroup

REFUSED, USAGE, COULD_NOT_EVALUATE, SIGNATURE_INVALID = 1, 2, 3, 5
INTERRUPTED = 130
COMMANDS = {
    "demo": "symphony.commands.demo:demo",
    "desk": "symphony.commands.desk:desk",
    "doctor": "symphony.commands.stack:doctor",
    "down": "symphony.commands.stack:down",
    "drill": "symphony.commands.drill:drill",
    "emergency": "symphony.commands.emergency:emergency",
    "evidence": "symphony.commands.evidence:evidence",
    "fleet": "symphony.commands.fleet:fleet",
    "invariants": "symphony.commands.invariants:command",
    "opa": "symphony.commands.opa:command",
    "order": "symphony.commands.order:order",
    "payment": "symphony.commands.payments:payment",
    "policy": "symphony.commands.policy:command",
    "reconcile": "symphony.commands.payments:reconcile",
    "release": "symphony.commands.release:release",
    "submit": "symphony.commands.payments:submit",
    "trust": "symphony.commands.trust:trust",
    "up": "symphony.commands.stack:up",
}


@click.group(
    cls=LazyGroup, places=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="symphony", prog_name="symphony")
def cli() -> None:
    """Policy-as-code control plane with sidecar enforcement for payments.

    Begin with `symphony demo --dir var/demo`, or bring a stack up with `symphony up --dir DIR`.

    \b
    Exit codes:
      0  pass
      1  violated or refused, or asked for and not there (a release, a payment)
      2  usage: an option, a name or a folder that cannot be used here
      3  could not tell
      4  nothing was tested
      5  a signature or proof does not hold
      6  a signature is missing
      7  warnings, with --fail-on-warn
      8  coverage of the policy's tests is too low
      9  over a performance budget
    """


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        result: Any = cli.main(arguments, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as ended:
        return int(ended.exit_code)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return INTERRUPTED
    except SymphonyError as error:
        click.echo(f"symphony: {error}", err=True)
        click.echo(f"  next: {error.next_step}", err=True)
        return _exit_code(error)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if os.environ.get("SYMPHONY_DEBUG"):
            raise
        click.echo(f"symphony: an error of ours, {type(error).__name__}: {error}", err=True)
        click.echo("  next: run it again with SYMPHONY_DEBUG=1 and report what it prints", err=True)
        return COULD_NOT_EVALUATE


def _exit_code(error: SymphonyError) -> int:
    if isinstance(error, NotTrusted):
        return SIGNATURE_INVALID
    if isinstance(error, Misused):
        return USAGE
    return COULD_NOT_EVALUATE if isinstance(error, CannotEvaluate) else REFUSED


if __name__ == "__main__":
    sys.exit(main())
