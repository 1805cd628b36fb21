"""What every command knows: where the stack is and how to print.

`session_command` registers a function as a command and gives it the options that all commands
share; the function receives them as a `Session`.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from clients.cli.output import Output
from clients.client import Addresses, EchoLoopClient
from clients.connection import Patience
from clients.stack.state import StackState, read_running

__all__ = ["Session", "session_command"]

_PANEL: Final = "Every command"
# A service that restarts is back within seconds; longer absence deserves an answer.
_PATIENCE: Final = Patience(total_s=10)


@dataclass(frozen=True, slots=True)
class Session:
    """The shared options of one invocation.

    Attributes:
        output: Where to print.
        var: Folder of the stack's state.
        overrides: Addresses given by option, by service.
    """

    output: Output
    var: Path
    overrides: dict[str, str] = field(default_factory=dict)

    @property
    def addresses(self) -> Addresses:
        """Addresses by option or environment, else of the stack in `var`, else the default."""
        running = self.running_stack()
        addresses = running.addresses if running is not None else Addresses()
        return replace(addresses, **self.overrides)

    def running_stack(self) -> StackState | None:
        """Return the stack that runs in `var`."""
        return read_running(self.var)

    def client(self, patience: Patience = _PATIENCE) -> EchoLoopClient:
        """Return a client of the stack."""
        return EchoLoopClient(self.addresses, patience=patience)


JsonOption = Annotated[
    bool, typer.Option("--json", help="Results as JSON on stdout.", rich_help_panel=_PANEL)
]
VarOption = Annotated[
    Path,
    typer.Option(
        "--var",
        help="Folder of the stack's state.",
        envvar="ECHOLOOP_VAR",
        rich_help_panel=_PANEL,
    ),
]


def _address_option(service: str) -> Any:
    return Annotated[
        str | None,
        typer.Option(
            f"--{service}",
            metavar="HOST:PORT",
            help=f"The {service}, instead of that of the running stack.",
            envvar=f"ECHOLOOP_{service.upper()}",
            rich_help_panel=_PANEL,
        ),
    ]


_SHARED: Final[dict[str, tuple[Any, Any]]] = {
    "json": (JsonOption, False),
    "var": (VarOption, Path("var")),
    "coordinator": (_address_option("coordinator"), None),
    "trainer": (_address_option("trainer"), None),
    "gateway": (_address_option("gateway"), None),
}


def session_command(
    app: typer.Typer, name: str, **settings: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose first parameter is the `Session`.

    Args:
        app: Where.
        name: The word that users type.
        settings: Passed to typer.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**options: Any) -> None:
            as_json, var = options.pop("json"), options.pop("var")
            given = {service: options.pop(service) for service in list(_SHARED)[2:]}
            overrides = {service: address for service, address in given.items() if address}
            function(Session(Output(as_json=as_json), var, overrides), **options)

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shared = [
            inspect.Parameter(
                option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for option, (annotation, default) in _SHARED.items()
        ]
        keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        parameters = [*keyword_only, *shared]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        # Without this, inspection would look through to the undecorated function.
        del command.__wrapped__
        app.command(name, **settings)(command)
        return function

    return register
