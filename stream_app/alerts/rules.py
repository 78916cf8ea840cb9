"""How a rules file becomes rules. Stands before ``detection``; ``rule`` says what a rule is.

Rules are data: ``rules.toml`` beside this module holds the shipped ones, ``STREAM_APP_RULES`` names
another file. Every name is checked against the metric catalogue when the program starts; a mistake is
named with its file, line, value and the mend, so that no rule silently watches nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from stream_app.alerts.rule import CHURN, KINDS, SEVERITIES, Condition, Rule, Rules
from stream_app.alerts.rule_reading import read_churn_rule, read_rule
from stream_app.alerts.tables import Table, TableError
from stream_app.metrics.catalogue import Dimension
from stream_app.settings import ENV_PREFIX, Settings

__all__ = [
    "CHURN",
    "KINDS",
    "SEVERITIES",
    "SHIPPED",
    "Condition",
    "Rule",
    "Rules",
    "RulesError",
    "load_rules",
]

SHIPPED: Final = Path(__file__).with_name("rules.toml")
_NOT_COUNTED: Final = f"is not counted; set {ENV_PREFIX}CAMPAIGN_SEGMENTS=true, or leave the rule out"


class RulesError(Exception):
    """A rules file is wrong; the message names file, line, value and the mend."""


def load_rules(path: Path | None = None, settings: Settings | None = None) -> Rules:
    """Read and check a rules file, or the shipped one. Given the settings that workers count by, a rule over what
    these leave out is a mistake, too.

    Raises:
        RulesError: the file cannot be read, or something in it is wrong (the first mistake found).
    """
    try:
        return _read(Table.of_file(path or SHIPPED, "rules file"), settings)
    except TableError as problem:
        raise RulesError(str(problem)) from None


def _read(file: Table, settings: Settings | None) -> Rules:
    file.only(("rule", CHURN))
    tables = file.tables("rule")
    rules = tuple(map(read_rule, tables))
    if settings is not None and not settings.campaign_segments:
        for rule, table in zip(rules, tables, strict=True):
            if rule.dimension is Dimension.CAMPAIGN_SEGMENT:
                raise table.wrong("dimension", _NOT_COUNTED)
    churn = file.table(CHURN)
    churn_rule = None if churn is None else read_churn_rule(churn)
    seen = set()
    for table in tables if churn is None else [*tables, churn]:
        if table.values["name"] in seen:
            raise table.wrong("name", "is used twice; give each rule its own, alerts are told apart by it")
        seen.add(table.values["name"])
    return Rules(rules, churn_rule)
