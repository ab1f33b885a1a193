"""Reads what a daemon tells Prometheus with Prometheus' own, strict reader of OpenMetrics, and holds it
against the conventions for names. Text on standard input; families as JSON on standard output."""

import json
import re
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

NAME = re.compile(r"^(vnet_gw|process)_[a-z0-9_]+$")
# What a name may end with, by the unit it is said to have.
UNITS = ("seconds", "bytes")
# Units that are not base units of Prometheus.
OTHER = re.compile(r"_(ms|milliseconds|us|ns|minutes|hours|kb|kilobytes|mb|megabytes|percent)(_|$)")


def main():
    families = []
    wrong = []
    for family in text_string_to_metric_families(sys.stdin.read()):
        name = family.name
        if not NAME.match(name):
            wrong.append(f"{name}: not a name of ours")
        if OTHER.search(name):
            wrong.append(f"{name}: not a base unit")
        if name.endswith("_total") or "total" in name.split("_"):
            wrong.append(f"{name}: total is for the samples of counters")
        if family.type not in ("counter", "gauge", "histogram"):
            wrong.append(f"{name}: type {family.type}")
        if not family.documentation.endswith("."):
            wrong.append(f"{name}: no help that ends")
        for unit in UNITS:
            if name.endswith(f"_{unit}") and family.unit != unit:
                wrong.append(f"{name}: said to be of the unit {family.unit!r}")
        samples = []
        for sample in family.samples:
            labels = sample.labels
            for label in labels:
                if label in ("job", "instance") or label.startswith("__"):
                    wrong.append(f"{name}: the label {label} is Prometheus' own")
            samples.append({"name": sample.name, "labels": labels, "value": sample.value})
        families.append({"name": name, "type": family.type, "unit": family.unit, "samples": samples})
    json.dump({"families": families, "wrong": wrong}, sys.stdout)


main()
