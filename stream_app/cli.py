"""The command line: what a person or a script types, parsed, checked, and handed to one command.

Stands before everything. Only ``typer`` is imported at the start; a command's own module, and with
it Kafka's clients or Faust, when it is asked for. So ``--help`` is quick.

Exit codes: 0 done, 1 failed (one sentence on standard error names the mend), 2 wrong use or settings.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli_churn import churn_app
from stream_app.cli_console import console
from stream_app.cli_rules import rules_app
from stream_app.cli_shared import Json, Limit, check_files, do
from stream_app.cli_watch import top, watch

SETTINGS_HELP = """
Settings are variables, or the names after STREAM_APP_ in small letters in the TOML file of --config; a variable wins:

\b
STREAM_APP_KAFKA              127.0.0.1:9092, several with commas between
STREAM_APP_REDIS              redis://127.0.0.1:6379/0 (rediss:// for TLS)
STREAM_APP_PREFIX             engagement.  what topics and Redis keys start with
STREAM_APP_PARTITIONS         4            of every input topic: the shards
STREAM_APP_REPLICATION        1            of topics that are created
STREAM_APP_ALLOWED_LATENESS   10m          how far an event may lie behind
STREAM_APP_IDLE_TIMEOUT       30s          how long a silent partition is waited for
STREAM_APP_CART_TIMEOUT       1h           silence that makes a cart abandoned
STREAM_APP_CHAT_TIMEOUT       2m           wait that makes a chat missed
STREAM_APP_MACHINE_CLICK_WITHIN 2s         of a delivery: a click so soon is suspected
STREAM_APP_RETENTION          30d          what is silent for longer is forgotten
STREAM_APP_STAGE_NEW          30d          for which a customer is new, or returned
STREAM_APP_STAGE_COOLING      30d          of silence until a customer is cooling
STREAM_APP_STAGE_DORMANT      90d          of silence until a customer is dormant
STREAM_APP_DUPLICATE_WINDOW   1h           how long event ids are remembered
STREAM_APP_MAX_EVENT_BYTES    262144       larger ones are dead letters
STREAM_APP_CAMPAIGN_SEGMENTS  false        true counts campaigns by segment as well
STREAM_APP_RULES              the alert rules file; the shipped rules if not set
STREAM_APP_NOTIFIERS          the file of those whom `notify` tells of alerts
STREAM_APP_DATA_DIR           var          a worker's local files
STREAM_APP_STORE              memory       or rocksdb: state at rest on disk
STREAM_APP_FLUSH_INTERVAL     50ms         pause between two flushes of changes
STREAM_APP_SNAPSHOT_INTERVAL  1s           shortest time between two snapshots
STREAM_APP_FETCH_WAIT         100ms        longest wait for an empty fetch
STREAM_APP_SESSION_TIMEOUT    6s           until another worker takes over
STREAM_APP_STUCK_AFTER        45s          without progress, until a worker ends itself
STREAM_APP_HTTP               127.0.0.1:0  for /live, /ready and /metrics; 0 is any free port
STREAM_APP_PROMETHEUS_DETAIL  segments     at /metrics; or all, or campaigns
STREAM_APP_CONSOLE_HTTP       127.0.0.1:8585  where `console` serves its page
STREAM_APP_CONSOLE_TOKEN      what it asks for, where others can reach it
STREAM_APP_KAFKA_SECURITY_PROTOCOL, STREAM_APP_KAFKA_SASL_MECHANISM,
STREAM_APP_KAFKA_SASL_PLAIN_USERNAME, STREAM_APP_KAFKA_SASL_PLAIN_PASSWORD,
STREAM_APP_KAFKA_SSL_CAFILE, STREAM_APP_KAFKA_SSL_CERTFILE,
STREAM_APP_KAFKA_SSL_KEYFILE, STREAM_APP_KAFKA_SSL_PASSWORD,
STREAM_APP_REDIS_SSL_CA_CERTS, STREAM_APP_REDIS_SSL_CERTFILE,
STREAM_APP_REDIS_SSL_KEYFILE  as their clients name them
"""

app = typer.Typer(
    name="stream-app",
    help="Live engagement metrics and alerts from Kafka.",
    epilog=SETTINGS_HELP,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: loading rich for its boxes would double the time
    pretty_exceptions_enable=False,
)
topics_app = typer.Typer(
    help="Create the topics, or check them.", no_args_is_help=True, rich_markup_mode=None
)
deadletters_app = typer.Typer(
    help="What was not counted, and another try.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(topics_app, name="topics")
app.add_typer(deadletters_app, name="deadletters")
app.add_typer(rules_app, name="rules")
app.add_typer(churn_app, name="churn")

Reason = Annotated[
    str | None, typer.Option(help="Only those with this reason, such as late or invalid_event.")
]


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run())


def run() -> int:
    """Run the command line; whatever goes wrong becomes lines for a person and an exit code."""
    try:
        app(prog_name="stream-app")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except Exception as problem:
        return _explain(problem)
    return 0


def _version(wanted: bool) -> None:
    if wanted:
        from stream_app import __version__

        typer.echo(f"stream-app {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", exists=True, dir_okay=False, readable=True, help="A TOML file with settings."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.obj = config


@app.command()
def demo(
    context: typer.Context,
    seconds: Annotated[int | None, typer.Option(min=1, help="End by itself after so many seconds.")] = None,
) -> None:
    """See all of it at work on this machine.

    Embedded servers, worker, simulated traffic and console; ends cleanly on Ctrl-C.
    """
    do(context, "stream_app.dev.demo", "run", seconds)


@app.command()
def dev(
    context: typer.Context,
    kafka_port: Annotated[
        int | None, typer.Option(help="The broker's port; a free one if not given.")
    ] = None,
    redis_port: Annotated[int | None, typer.Option(help="Redis's port; a free one if not given.")] = None,
) -> None:
    """Run just the embedded servers.

    A Kafka-compatible broker with the topics, and a Redis; prints the settings to reach them.
    """
    do(context, "stream_app.commands.dev", "run", kafka_port, redis_port)


@app.command()
def worker(context: typer.Context) -> None:
    """Count: events in, metrics and alerts out.

    Runs until Ctrl-C or SIGTERM. More workers share the partitions.
    """
    do(context, "stream_app.worker", "run")


@app.command()
def notify(
    context: typer.Context,
    test: Annotated[bool, typer.Option("--test", help="Tell every target once, of a test, and end.")] = False,
) -> None:
    """Tell people of alerts, by chat, pager or webhook.

    Those that STREAM_APP_NOTIFIERS names. Runs until Ctrl-C or SIGTERM.
    """
    do(context, "stream_app.commands.notify", "run", test)


app.command()(console)


@topics_app.command("create")
def topics_create(context: typer.Context, as_json: Json = False) -> None:
    """Create the topics that are missing.

    Alters nothing that is there; a wrong number of partitions is named.
    """
    do(context, "stream_app.commands.topics", "create", as_json)


@topics_app.command("check")
def topics_check(context: typer.Context, as_json: Json = False) -> None:
    """Verify the topics, and change nothing."""
    do(context, "stream_app.commands.topics", "check", as_json)


@app.command()
def send(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Files of one JSON event per line, plain or .gz; - for standard input."
        ),
    ],
    rate: Annotated[float | None, typer.Option(min=0.001, help="Events per second, evenly spaced.")] = None,
    gzip: Annotated[bool, typer.Option("--gzip", help="Compress what is sent, for a slow network.")] = False,
    as_json: Json = False,
) -> None:
    """Send events from files to their topics.

    Lines that are no valid event are named on standard error and left out; the exit code is then 1.
    """
    check_files(files, "FILE")
    do(context, "stream_app.commands.send", "run", files, rate, as_json, gzip)


@app.command()
def backtest(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="EVENTS", help="Files of one JSON event per line, plain or .gz; - for standard input."
        ),
    ],
    rules: Annotated[
        Path | None, typer.Option(help="The rules file on trial; without it STREAM_APP_RULES or the shipped.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Another rules file: print only what the two tell differently.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Try alert rules on recorded events.

    Prints what would have fired, when, for how long and with which numbers. Needs neither Kafka nor Redis.
    """
    check_files(files, "EVENTS")
    from stream_app.commands.backtest import Choice

    do(context, "stream_app.commands.backtest", "run", files, Choice(rules, compare), as_json)


app.command()(watch)
app.command()(top)


@deadletters_app.command("list")
def deadletters_list(
    context: typer.Context, reason: Reason = None, limit: Limit = None, as_json: Json = False
) -> None:
    """Print what was not counted, and why.

    Each partition's oldest first.
    """
    from stream_app.commands.deadletters import Choice

    do(context, "stream_app.commands.deadletters", "list_letters", Choice(reason, limit), as_json)


@deadletters_app.command("replay")
def deadletters_replay(
    context: typer.Context,
    reason: Reason = None,
    limit: Limit = None,
    force: Annotated[bool, typer.Option("--force", help="Also what would only come back.")] = False,
    as_json: Json = False,
) -> None:
    """Send the records again, each once.

    To the topic each came from, keyed by its customer. What would only come back is skipped and kept.
    """
    from stream_app.commands.deadletters import Choice

    do(context, "stream_app.commands.deadletters", "replay", Choice(reason, limit), force, as_json)


@app.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check everything, and say how to mend it.

    Settings, Kafka, topics, Redis, rules, files and clock; the exit code is 1 if one is wrong.
    """
    do(context, "stream_app.commands.doctor", "run", as_json)


def _explain(problem: Exception) -> int:
    """Lines for a person and the exit code: 2 for what they set wrongly, 1 for everything else."""
    from stream_app.alerts.rules import RulesError
    from stream_app.dev import ServerError
    from stream_app.failure import Failure
    from stream_app.settings import SettingsError

    expected = isinstance(problem, Failure | ServerError | SettingsError | RulesError)
    text = str(problem) if expected else _unexpected(problem)
    for line in text.splitlines():
        typer.echo(f"stream-app: {line}", err=True)
    return 2 if isinstance(problem, SettingsError | RulesError) else 1


def _unexpected(problem: Exception) -> str:
    """The last resort: one sentence, and the traceback in a file, to be sent along with a report."""
    import tempfile
    import traceback

    place = Path(tempfile.gettempdir(), f"stream-app-error-{os.getpid()}.txt")
    try:
        place.write_text("".join(traceback.format_exception(problem)), "utf-8")
        details = f" with {place}"
    except OSError:
        details = ""
    words = " ".join(str(problem).split())[:300]
    name = type(problem).__name__
    return f"unexpected {name}: {words} (a mistake in stream-app: please report it{details})"
