"""Style as a test: what a reader of this code may rely on, checked on every file.

The tables at the top are the rules; change them there. `ORDER` says which way imports point.
"""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "stream_app"

# A module imports from its own layer and those above it, never from one below. Names are relative to the package,
# stand for what is inside them too, and the longest that fits wins; `*` fits anything but a dot.
ORDER: tuple[tuple[str, ...], ...] = (
    (
        "clock",
        "failure",
        "garbage",
        "handover",
        "health",
        "lease",
        "output",
        "pulse",
        "settings",
        "stuck",
        "telemetry",
        "vitals",
        "waits",
    ),
    ("ingest",),
    ("metrics.catalogue", "metrics.cells"),  # the vocabulary of counts: what state counts and metrics emit
    ("state",),
    ("churn",),
    ("metrics",),
    ("alerts",),
    ("sinks",),
    ("figures",),
    ("notifiers",),
    ("prometheus",),
    ("schemas",),
    ("stations",),
    ("backtest",),
    ("lookout",),
    ("engine",),
    ("prometheus.worker",),
    ("topology", "watchdog", "worker"),
    ("console",),
    ("dev", "top"),
    ("commands", "cli*", "__main__"),
)
# Where the engine may be imported. Everything between decode and rules is pure.
FAUST_IN = ("topology", "worker", "ingest.batches", "state.tables")
# Where the clock may be read: in one place, and where people and processes are waited for.
CLOCK_IN = ("clock", "dev", "cli*")
CLOCKS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "clock_gettime"),
    ("time", "monotonic"),
    ("time", "monotonic_ns"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
}
MODULE_LINES = 350
FUNCTION_LINES = 50
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")
MACHINE_PATH = re.compile(r"(?<![\w.}])/(work|root)/")

Function = ast.FunctionDef | ast.AsyncFunctionDef


# --- What is looked at --------------------------------------------------------------------------------------


@cache
def project_files() -> tuple[Path, ...]:
    """Files that git tracks or would track; without git, all files outside hidden and built directories."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        inside = [path for path in ROOT.rglob("*") if path.is_file()]
        hidden = re.compile(r"(^|/)(\.(?!ci/)|__pycache__|build/|dist/|var/|[^/]*\.egg-info/)")
        return tuple(path for path in inside if not hidden.search(path.relative_to(ROOT).as_posix()))
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


@cache
def modules() -> dict[str, str]:
    """Every module of the package, by its dotted name below the package, with its source."""
    found = {}
    for path in project_files():
        parts = path.relative_to(ROOT).with_suffix("").parts
        if path.suffix == ".py" and parts[0] == PACKAGE:
            found[".".join(parts[1:]).removesuffix("__init__").rstrip(".")] = path.read_text(encoding="utf-8")
    return found


@cache
def parsed(source: str) -> ast.Module:
    """A module's syntax tree, made once for all rules, which only look at it."""
    return ast.parse(source)


@cache
def fits(module: str, entry: str) -> bool:
    """Whether a module is a table's entry or inside it."""
    parts = module.split(".")[: entry.count(".") + 1]
    return fnmatchcase(".".join(parts), entry)


def layer(module: str) -> int | None:
    """A module's place in ORDER; the package itself comes first."""
    if not module:
        return 0
    found = [(len(entry), place) for place, row in enumerate(ORDER) for entry in row if fits(module, entry)]
    return max(found)[1] if found else None


def imports(module: str, tree: ast.AST, known: set[str]) -> Iterator[tuple[int, str]]:
    """Every import with its line, as a full dotted name, in functions and under TYPE_CHECKING too."""
    full = [PACKAGE, *module.split(".")] if module else [PACKAGE]
    is_package = not module or any(name.startswith(f"{module}.") for name in known)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                base = full[: len(full) - node.level + is_package]
                source = ".".join([*base, source]).rstrip(".")
            for name in node.names:
                whole = f"{source}.{name.name}"
                is_module = whole.removeprefix(f"{PACKAGE}.") in known
                yield node.lineno, whole if is_module else source


# --- The rules: each takes a module's name and source and yields what is wrong -----------------------------


def has_docstring(module: str, source: str) -> Iterator[str]:
    if not ast.get_docstring(parsed(source)):
        yield f"{module}: no docstring; say what it is for and where it stands in the flow"


def is_short(module: str, source: str) -> Iterator[str]:
    if (lines := len(source.splitlines())) > MODULE_LINES:
        yield f"{module}: {lines} lines, at most {MODULE_LINES}"


def functions_are_short(module: str, source: str) -> Iterator[str]:
    for node in ast.walk(parsed(source)):
        if isinstance(node, Function):
            first = node.body[0]
            has_doc = ast.get_docstring(node, clean=False) is not None
            documented = (first.end_lineno or 0) - first.lineno + 1 if has_doc else 0
            if (lines := (node.end_lineno or 0) - node.lineno + 1 - documented) > FUNCTION_LINES:
                yield f"{module}:{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES}"


def is_finished(module: str, source: str) -> Iterator[str]:
    for number, line in enumerate(source.splitlines(), 1):
        if found := UNFINISHED.search(line):
            yield f"{module}:{number}: {found[0]}; file an issue instead"


def swallows_nothing(module: str, source: str) -> Iterator[str]:
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.ExceptHandler):
            idle = all(isinstance(step, ast.Pass | ast.Continue) or is_ellipsis(step) for step in node.body)
            if node.type is None:
                yield f"{module}:{node.lineno}: bare except; name what is expected"
            elif idle and catches_all(node.type):
                yield f"{module}:{node.lineno}: swallows every exception"
        elif (
            isinstance(node, ast.Call)
            and last_name(node.func) == "suppress"
            and any(map(catches_all, node.args))
        ):
            yield f"{module}:{node.lineno}: suppresses every exception"


def reads_no_clock(module: str, source: str) -> Iterator[str]:
    if any(fits(module, entry) for entry in CLOCK_IN):
        return
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Attribute) and (last_name(node.value), node.attr) in CLOCKS:
            yield f"{module}:{node.lineno}: {ast.unparse(node)}; time is an argument, or comes from clock"
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                if (node.module, name.name) in CLOCKS:
                    yield f"{module}:{node.lineno}: imports {node.module}.{name.name}; time comes from clock"


def imports_one_way(module: str, source: str) -> Iterator[str]:
    known = set(modules()) | {module}
    here = layer(module)
    if here is None:
        yield f"{module}: in no layer; give it a place in ORDER"
        return
    for line, name in imports(module, parsed(source), known):
        if name.split(".")[0] != PACKAGE:
            continue
        target = name.removeprefix(PACKAGE).lstrip(".")
        there = layer(target)
        if there is not None and there > here:
            yield f"{module}:{line}: imports {target}, which comes later"


def leaves_faust_alone(module: str, source: str) -> Iterator[str]:
    if any(fits(module, entry) for entry in FAUST_IN):
        return
    for line, name in imports(module, parsed(source), set()):
        if name.split(".")[0] == "faust":
            yield f"{module}:{line}: imports {name}; only {', '.join(FAUST_IN)} may"


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_ellipsis(step: ast.stmt) -> bool:
    return isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) and step.value.value is ...


def catches_all(caught: ast.expr) -> bool:
    several = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(last_name(one) in {"Exception", "BaseException"} for one in several)


RULES: tuple[Callable[[str, str], Iterator[str]], ...] = (
    has_docstring,
    is_short,
    functions_are_short,
    is_finished,
    swallows_nothing,
    reads_no_clock,
    imports_one_way,
    leaves_faust_alone,
)


# --- The tests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_tidy(rule: Callable[[str, str], Iterator[str]]) -> None:
    problems = [problem for module, source in sorted(modules().items()) for problem in rule(module, source)]
    assert not problems, "\n" + "\n".join(problems)


def test_no_paths_of_one_machine() -> None:
    problems = []
    for path in project_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        name = path.relative_to(ROOT)
        problems += [
            f"{name}:{number}: {line}" for number, line in enumerate(lines, 1) if MACHINE_PATH.search(line)
        ]
    assert not problems, "\n" + "\n".join(problems)


def test_order_names_nothing_twice() -> None:
    entries = [entry for row in ORDER for entry in row]
    assert len(entries) == len(set(entries))


BAD = [
    (has_docstring, "state.panes", "x = 1"),
    (is_short, "state.panes", "\n" * (MODULE_LINES + 1)),
    (functions_are_short, "state.panes", "def f():\n" + "    x = 1\n" * (FUNCTION_LINES + 1)),
    (functions_are_short, "state.panes", "async def f():\n" + "    x = 1\n" * (FUNCTION_LINES + 1)),
    (is_finished, "state.panes", "x = 1  # TO" + "DO"),
    (swallows_nothing, "state.panes", "try:\n    x = 1\nexcept:\n    raise"),
    (swallows_nothing, "state.panes", "try:\n    x = 1\nexcept Exception:\n    pass"),
    (swallows_nothing, "state.panes", "try:\n    x = 1\nexcept (OSError, BaseException):\n    ..."),
    (swallows_nothing, "state.panes", "with contextlib.suppress(Exception):\n    x = 1"),
    (reads_no_clock, "state.panes", "import time\ntime.time()"),
    (reads_no_clock, "state.panes", "import datetime\ndatetime.datetime.now(datetime.UTC)"),
    (reads_no_clock, "state.panes", "from time import monotonic"),
    (imports_one_way, "state.panes", "from stream_app.alerts import rules"),
    (imports_one_way, "state.panes", "from ..alerts import rules"),
    (imports_one_way, "state.panes", "import stream_app.metrics.merge"),
    (imports_one_way, "state.panes", "if TYPE_CHECKING:\n    from stream_app.sinks.kafka import Sink"),
    (imports_one_way, "state.panes", "def f():\n    from stream_app import alerts"),
    (imports_one_way, "metrics.catalogue", "from stream_app.metrics.rates import rate_of"),
    (imports_one_way, "nowhere", "x = 1"),
    (leaves_faust_alone, "state.panes", "import faust"),
    (leaves_faust_alone, "state.panes", "from faust.types import TP"),
]
GOOD = [
    (functions_are_short, "state.panes", 'def f():\n    """A.\n' + "\n" * 60 + '    """\n    x = 1\n'),
    (swallows_nothing, "state.panes", "try:\n    x = 1\nexcept OSError:\n    pass"),
    (reads_no_clock, "clock", "import time\ntime.time()"),
    (reads_no_clock, "cli_watch", "import time\ntime.monotonic()"),
    (reads_no_clock, "state.panes", "import time\ntime.sleep(1)"),
    (imports_one_way, "state.panes", "from stream_app.metrics.catalogue import COUNTS"),
    (
        imports_one_way,
        "state.panes",
        "from stream_app.state import timers\nfrom .timers import Heap\nimport time",
    ),
    (imports_one_way, "cli", "from stream_app.dev import EmbeddedBroker"),
    (leaves_faust_alone, "ingest.batches", "from faust.transport.drivers.aiokafka import Consumer"),
]


@pytest.mark.parametrize(("rule", "module", "source"), BAD)
def test_rule_bites(rule: Callable[[str, str], Iterator[str]], module: str, source: str) -> None:
    assert list(rule(module, source))


@pytest.mark.parametrize(("rule", "module", "source"), GOOD)
def test_rule_lets_good_code_be(rule: Callable[[str, str], Iterator[str]], module: str, source: str) -> None:
    assert not list(rule(module, source))
