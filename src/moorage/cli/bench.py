"""`moorage bench`: put load on any Socket.IO server."""

# ruff: noqa: PLC0415 - commands import what they need when they run

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

import click

if TYPE_CHECKING:
    from moorage.load.plan import Plan
    from moorage.load.result import Result
    from moorage.load.run import Run
    from moorage.load.thresholds import Threshold

EXCEEDED: Final = 3
"""Exit code if a threshold is exceeded."""
INTERRUPTED: Final = 130
UNLIMITED: Final = 100_000
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZES: Final = (0, 16 * 1024 * 1024)

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """Seconds, as `10s`, `500ms`, `2m` or a bare number."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        found = _DURATION.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration such as 10s, 500ms or 2m", param, ctx)
        return float(found[1]) * _SECONDS[found[2] or "s"]


class Pair(click.ParamType[tuple[str, str]]):
    """A name and a value, with a separator between them."""

    def __init__(self, separator: str) -> None:
        self.name = f"name{separator}value"
        self._separator = separator

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Read it."""
        if isinstance(value, tuple):
            return value
        name, separator, rest = str(value).partition(self._separator)
        if not separator or not name.strip():
            self.fail(f"{value!r}: expected NAME{self._separator}VALUE", param, ctx)
        return name.strip(), rest.strip()


def _option(*names: str, **more: Any) -> Callable[[CommandT], CommandT]:
    return click.option(*names, **more)


_OPTIONS: Final = (
    _option("--url", metavar="URL", required=True, help="The server: http, https, ws or wss, host and port."),
    _option("--path", metavar="PATH", help="Path of Socket.IO.  [default: /socket.io/]"),
    _option("--namespace", metavar="NAME", default="/", show_default=True, help="Namespace to join."),
    _option("--auth", metavar="JSON", help="Auth of the CONNECT packet; {n} in it is the client's number."),
    _option(
        "--query",
        metavar="NAME=VALUE",
        type=Pair("="),
        multiple=True,
        help="Added to the query; {n} as in --auth.",
    ),
    _option("--header", metavar="NAME:VALUE", type=Pair(":"), multiple=True, help="Added to the handshake."),
    _option(
        "--transport",
        type=click.Choice(["websocket", "polling"]),
        default="websocket",
        show_default=True,
        help="How packets travel.",
    ),
    _option("--insecure", is_flag=True, help="Accept any certificate."),
    _option("--local-address", metavar="ADDRESS", multiple=True, help="Connect from it. May be repeated."),
    _option("--clients", type=click.IntRange(1), default=100, show_default=True, help="Number of clients."),
    _option(
        "--processes",
        type=click.IntRange(1, 256),
        default=1,
        show_default=True,
        help="Processes that hold them.",
    ),
    _option(
        "--opening", type=click.IntRange(1), default=50, show_default=True, help="Connects under way at once."
    ),
    _option(
        "--rate", type=click.FloatRange(0, min_open=True), metavar="NUMBER", help="Events a second, of all."
    ),
    _option("--senders", type=click.IntRange(0), metavar="COUNT", help="Clients that publish.  [default: 1]"),
    _option(
        "--outstanding", type=click.IntRange(1), metavar="COUNT", help="Events of a client without answer."
    ),
    _option("--event", metavar="NAME", help="Event to send.  [default: echo, or publish]"),
    _option(
        "--size", type=click.IntRange(*_SIZES), default=100, show_default=True, help="Bytes of its string."
    ),
    _option("--verify", is_flag=True, help="echo: the answer must contain the string."),
    _option("--duration", type=Duration(), default="10s", show_default=True, help="Measured time."),
    _option("--warmup", type=Duration(), default="1s", show_default=True, help="Time before it is measured."),
    _option("--timeout", type=Duration(), default="10s", show_default=True, help="For connects and answers."),
    _option(
        "--cut-every", type=Duration(), default="15s", show_default=True, help="jitter: between two cuts."
    ),
    _option(
        "--restart", metavar="COMMAND", default="", help="avalanche: shell command to restart the server."
    ),
    _option("--server-pid", type=int, multiple=True, metavar="PID", help="Report its CPU and memory."),
    _option(
        "--fail-if", metavar="CONDITION", multiple=True, help='Such as "p99>50ms" or "lost>0". Exit code 3.'
    ),
    _option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    _option(
        "--html", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Write a page too."
    ),
    _option("--quiet", is_flag=True, help="No progress."),
)


def _all_options(command: CommandT) -> CommandT:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument(
    "scenario",
    type=click.Choice(["echo", "fanout", "idle", "connects", "jitter", "avalanche"]),
    metavar="SCENARIO",
)
@_all_options
def bench(scenario: str, **options: Any) -> None:
    """Put load on any Socket.IO server, and measure.

    \b
    echo       each client sends events, which the server acknowledges
    fanout     some clients publish, and the server sends it to all
    idle       clients connect and stay
    connects   clients connect, leave, and connect again
    jitter     connections break again and again while messages are sent
    avalanche  the server restarts, and all clients come back

    Latencies count from the intended time of sending. The exit code is 0 if no condition of --fail-if holds,
    1 if no client could connect, 2 for wrong usage, 3 if a condition holds, and 130 after Ctrl-C, which ends
    the load early.
    """
    from moorage.cli.service import need_service

    need_service()
    from moorage.load.report.page import page
    from moorage.load.report.progress import ProgressLine
    from moorage.load.report.table import table
    from moorage.load.result import document
    from moorage.load.run import LoadError, Run

    plan = _plan(scenario, options)
    thresholds = _thresholds(plan, options["fail_if"])
    progress = ProgressLine(sys.stderr, shown=not options["quiet"])
    run = Run(plan, options["processes"], thresholds, options["server_pid"], progress)
    try:
        result = _run(run)
    except LoadError as error:
        raise click.ClickException(str(error)) from None
    finally:
        progress.close()
    if options["html"]:
        with open(options["html"], "w", encoding="utf-8") as file:
            file.write(page(result))
    if options["as_json"]:
        import json

        click.echo(json.dumps(document(result), indent=1))
    else:
        click.echo(table(result), nl=False)
    raise SystemExit(INTERRUPTED if result.interrupted else EXCEEDED if result.failed else 0)


def _run(run: Run) -> Result:
    """Ctrl-C ends the load, and the result has what was measured so far; a second one ends the command."""
    import asyncio
    import signal

    async def main() -> Result:
        loop = asyncio.get_running_loop()

        def interrupted() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            run.stop()

        loop.add_signal_handler(signal.SIGINT, interrupted)
        return await run()

    return asyncio.run(main())


def _plan(scenario: str, options: Mapping[str, Any]) -> Plan:
    from moorage.load.plan import DEFAULT_RATES, Plan

    url, query = _url(options["url"])
    broadcasts = scenario in ("fanout", "jitter")
    if options["clients"] < options["processes"]:
        raise click.UsageError("--clients must be at least --processes")
    senders = (1 if options["senders"] is None else options["senders"]) if broadcasts else 0
    if senders > options["clients"]:
        raise click.UsageError("--senders must not exceed --clients")
    rate = options["rate"] or DEFAULT_RATES.get(scenario, 0.0)  # type: ignore[call-overload]
    path = options["path"] or "/socket.io/"
    namespace = options["namespace"]
    return Plan(
        scenario=scenario,  # type: ignore[arg-type]
        url=url,
        path="/" + path.strip("/") + "/",
        query=query | dict(options["query"]),
        headers=dict(options["header"]),
        namespace=namespace if namespace.startswith("/") else f"/{namespace}",
        auth=_auth(options["auth"]),
        transport=options["transport"],
        insecure=options["insecure"],
        local_addresses=options["local_address"],
        clients=options["clients"],
        opening=options["opening"],
        senders=senders,
        rate=rate,
        # With a rate, a client does not wait for its answers.
        outstanding=options["outstanding"] or (UNLIMITED if rate else 1),
        event=options["event"] or ("publish" if broadcasts else "echo"),
        size=options["size"],
        verify=options["verify"],
        warmup=options["warmup"],
        duration=options["duration"],
        timeout=options["timeout"],
        cut_every=options["cut_every"],
        restart=options["restart"],
    )


def _url(text: str) -> tuple[str, dict[str, str]]:
    """Scheme, host and port, and the query."""
    url = urlsplit(text if "://" in text else f"http://{text}")
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)
    try:
        known = scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        known = False
    if not known or url.username is not None:
        raise click.UsageError(f"--url {text}: expected a URL such as http://localhost:3000")
    if url.path.strip("/"):
        given = url.path.rstrip("/")
        raise click.UsageError(f"--url has a path: give --path {given}, or --namespace {given}")
    return f"{scheme}://{url.netloc}", dict(parse_qsl(url.query))


def _auth(text: str | None) -> Any:
    import json

    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        raise click.UsageError("--auth is not JSON") from None
    if not isinstance(found, dict):
        raise click.UsageError("--auth must be a JSON object")
    return found


def _thresholds(plan: Plan, conditions: tuple[str, ...]) -> list[Threshold]:
    from moorage.load.thresholds import parse

    try:
        return [parse(text, plan.scenario) for given in conditions for text in given.split(",")]
    except ValueError as error:
        raise click.UsageError(f"--fail-if: {error}") from None
