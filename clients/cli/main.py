"""Entry point of `echoloop`: the command tree, and how it ends.

Exit status: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted. No command ever shows a
stack trace; one of an unexpected failure goes to a log file.
"""

import json
import sys
import tempfile
import traceback
from pathlib import Path

import typer

from clients.cli import (
    annotate,
    campaign,
    campaign_forecast,
    data,
    demo,
    experiment,
    jobs,
    oracle,
    releases,
    search,
    segment,
    stack,
)
from clients.cli.output import print_error
from services.platform.errors import EchoLoopError, InternalError

__all__ = ["app", "main"]

_REFUSED = 1
_USAGE = 2
_INTERRUPTED = 130

app = typer.Typer(
    name="echoloop",
    help="Active learning for left-ventricle segmentation of echocardiograms, served by Triton.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
stack.register(app)
campaign_forecast.register(campaign.app)
demo.register(app)
data.register(app)
app.add_typer(search.app, name="search")
app.add_typer(experiment.app, name="experiment")
app.add_typer(campaign.app, name="campaign")
app.add_typer(annotate.app, name="annotate")
oracle.register(app)
segment.register(app)
app.add_typer(releases.app, name="releases")
app.add_typer(jobs.app, name="jobs")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process.

    Raises:
        SystemExit: Always.
    """
    given = sys.argv[1:] if arguments is None else arguments
    raise SystemExit(run(given))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    as_json = "--json" in arguments
    try:
        # Not standalone: typer would print its own panels and exit by itself.
        status = app(args=arguments, prog_name="echoloop", standalone_mode=False)
    except EchoLoopError as error:
        print_error(error, as_json=as_json)
        return _REFUSED
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("Interrupted.\n")
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has seen enough, as in `echoloop ... | head`.
        sys.stderr.close()
        return _REFUSED
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            return _usage_error(error, as_json=as_json)
        print_error(InternalError(_unexpected()), as_json=as_json)
        return _REFUSED
    if status == _INTERRUPTED:  # typer turns Ctrl-C into this status
        sys.stderr.write("Interrupted.\n")
    return status if isinstance(status, int) else 0


def _usage_error(error: Exception, *, as_json: bool) -> int:
    """Print what is wrong with the command line; typer's own class is private to it."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error}\n" if not context else f"{context.get_help()}\n")
        return _USAGE
    message = " ".join(str(error.format_message()).split())  # type: ignore[attr-defined]
    command = context.command_path if context is not None else "echoloop"
    if as_json:
        content = {"code": "USAGE", "reason": "USAGE", "message": message}
        sys.stderr.write(json.dumps({"error": content}) + "\n")
    else:
        sys.stderr.write(f"Usage error: {message} Try `{command} --help`.\n")
    return _USAGE


def _unexpected() -> str:
    """Write the stack trace to a file and return a sentence that names it."""
    with tempfile.NamedTemporaryFile("w", prefix="echoloop-", suffix=".log", delete=False) as file:
        file.write(traceback.format_exc())
    return (
        f"The command failed unexpectedly; this is a defect of EchoLoop. Details are in "
        f"{Path(file.name)}: please report them."
    )


if __name__ == "__main__":
    main()
