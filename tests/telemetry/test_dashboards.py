"""The dashboard, the alerts and the recording rules ask for what a service really tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pdp.telemetry import catalogue
from pdp.telemetry.catalogue import FAMILIES
from pdp.telemetry.readings import exposition
from pdp.workers.accounts import Accounts
from pdp.workers.orders import RuntimeDirectory
from tests.telemetry.world import everything, get, limited_callers, observed

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "pdp.json"
RULES = sorted((ROOT / "deploy" / "prometheus").glob("*.yaml"))
#: What Prometheus itself adds, and what Grafana fills in.
TARGET = {"job", "instance"}
FILLED_IN = {"$__rate_interval": "5m", "$job": ".*", "$instance": ".*"}


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every rule, with a name for people."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            for rule in group["rules"]:
                yield rule.get("alert") or rule["record"], rule


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression, with a name for people."""
    for name, rule in rules():
        yield name, rule["expr"]
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"]
            for variable, value in FILLED_IN.items():
                text = text.replace(variable, value)
            yield f"{panel['title']} {target['refId']}", text


def parts(node: Any) -> Iterator[Any]:
    """A parsed expression and everything in it."""
    yield node
    children = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "param", "vector_selector")]
    for child in (*children, *(getattr(node, "args", None) or ())):
        if child is not None:
            yield from parts(child)


def selectors(expression: str) -> list[Any]:
    """What an expression selects."""
    found = [part for part in parts(promql_parser.parse(expression)) if type(part).__name__ == "VectorSelector"]
    assert found, expression
    return found


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The samples of a service after a call of everything, and of a supervisor, each with its labels."""
    directory = tmp_path_factory.mktemp("exported")
    with everything(directory) as service:
        text = get(service.app.telemetry_address, "/metrics").text
    with observed(directory / "limited", callers=limited_callers()) as service:
        text += get(service.app.telemetry_address, "/metrics").text
    text += exposition(Accounts(RuntimeDirectory(directory), 1).readings()).decode()
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            [family] = text_string_to_metric_families(line + "\n")
            [sample] = family.samples
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


EXPRESSIONS = list(expressions())


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_it_asks_for_what_is_there(exported: dict[str, set[str]], name: str, expression: str) -> None:
    """An expression reads, its metrics are exported, and they have the labels that it selects by."""
    for selector in selectors(expression):
        assert selector.name in exported, f"{name}: there is no {selector.name}"
        wanted = {matcher.name for matcher in selector.matchers.matchers} - TARGET
        assert wanted <= exported[selector.name], f"{name}: {selector.name} has no {wanted}"


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_it_adds_up_by_labels_that_are_there(exported: dict[str, set[str]], name: str, expression: str) -> None:
    """What is kept by an aggregation is a label of every metric within it."""
    assert strange_labels(expression, exported) == set(), name


def strange_labels(expression: str, exported: dict[str, set[str]]) -> set[str]:
    """The labels that are kept of metrics which do not have them."""
    found: set[str] = set()
    for part in parts(promql_parser.parse(expression)):
        modifier = getattr(part, "modifier", None)
        if type(part).__name__ == "AggregateExpr" and modifier is not None:
            within = [each for each in parts(part) if type(each).__name__ == "VectorSelector"]
            found |= {label for each in within for label in set(modifier.labels) - TARGET - exported[each.name]}
    return found


def test_a_mistake_would_be_seen(exported: dict[str, set[str]]) -> None:
    """A label that a metric does not have is found, however deep it stands."""
    quantile = "histogram_quantile(0.9, sum by (le, tool) (rate(pdp_rpc_duration_seconds_bucket[5m])))"
    mistaken = f"{quantile} > 1 unless pdp_ready"
    assert strange_labels(mistaken, exported) == {"tool"}
    assert {each.name for each in selectors(mistaken)} == {"pdp_rpc_duration_seconds_bucket", "pdp_ready"}


def test_every_metric_is_on_the_dashboard() -> None:
    """What is exported is shown."""
    shown = {selector.name for name, text in EXPRESSIONS if " " in name for selector in selectors(text)}
    names = {name for sample in shown for name in FAMILIES if sample == name or sample.startswith(f"{name}_")}
    assert set(FAMILIES) - names == set()


def test_values_that_alerts_name_exist() -> None:
    """Values that are selected by exact text are those that the service uses."""
    known = {
        "decision": {"ALLOW", "DENY"},
        "verdict": {"pass", "transform", "deny", "failed"},
        "result": {"changed", "unchanged", "failed"},
    }
    for name, text in EXPRESSIONS:
        for selector in selectors(text):
            for matcher in selector.matchers.matchers:
                if matcher.name in known:
                    assert set(matcher.value.split("|")) <= known[matcher.name], name


def test_alerts_say_what_to_do() -> None:
    """Every alert has a severity and a summary, and no two have one name."""
    alerts = [rule for _, rule in rules() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_panels_do_not_overlap() -> None:
    """Each panel has a place of its own on the dashboard, and an id."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for panel in panels
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(places)) == len(places)
    assert all(x < 24 for x, _ in places)


def test_every_metric_is_documented() -> None:
    """The reference names every metric and each of its labels."""
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    lines = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert lines.keys() == FAMILIES.keys()
    for family in FAMILIES.values():
        assert all(f"`{label}`" in lines[family.name] for label in family.labels)


def test_names_follow_prometheus() -> None:
    """Counters end in `_total`, times in seconds, and nothing has a name that Prometheus could not read."""
    for family in FAMILIES.values():
        assert family.name.startswith(("pdp_", "process_"))
        assert (family.kind == "counter") == family.name.endswith("_total")
        assert not family.name.endswith(("_ms", "_us", "_milliseconds"))
        assert family.kind != "histogram" or family.name.endswith("_seconds")
        assert family.joined == "sum" or family.kind == "gauge"
    assert catalogue.IN_FLIGHT.name == "pdp_calls_in_flight"
