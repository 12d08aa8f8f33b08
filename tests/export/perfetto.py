#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""Do trace events say what a viewer needs, and the same as the CSV of the same trace?

    perfetto.py EVENTS.json EVENTS.csv

The schema holds each event's form. Here: slices nest, flows lead from an open fault to
the write that follows at once, and each row of the CSV is one event with the same fields.
"""

import csv
import json
import pathlib
import sys
from decimal import Decimal

import jsonschema

SCHEMA = pathlib.Path(__file__).parent / "trace-events.schema.json"
COMMON = {"number", "time", "event", "vm", "vcpu", "tid", "thread"}
# Rows that only end a slice.
ENDS = {"fault-end", "entry"}
problems = []


def claim(holds, what):
    if not holds and len(problems) < 10:
        problems.append(what)
    return holds


def check_slices(events):
    """B and E nest on each track; a flow starts in an open fault and ends at the next slice of its track."""
    open_slices, starts, waiting, named, last = {}, {}, {}, set(), Decimal(0)
    for event in events:
        track, phase = (event["pid"], event["tid"]), event["ph"]
        if phase == "M":
            named.add(track if event["name"].startswith("thread") else event["pid"])
            continue
        if phase == "C":
            claim(event["pid"] in named, f"a counter of process {event['pid']}, which has no name")
            continue
        claim(event["ts"] >= last, f"time goes back at {event}")
        last = event["ts"]
        claim(event["pid"] in named and (track in named or event.get("s") in ("p", "g")), f"{track} has no name")
        stack = open_slices.setdefault(track, [])
        if phase == "B":
            claim(not stack or (stack[-1]["cat"], event["cat"]) == ("exit", "fault"), f"{event} stands in {stack[-1:]}")
            stack.append(event)
        elif phase == "E":
            if claim(stack, f"{event} ends nothing"):
                begun = stack.pop()
                claim(("args" in event) == (begun["cat"] == "fault"), f"{event} ends {begun}")
                if "args" in event:
                    written = event["args"]["entries_written"]
                    claim(written == begun.get("flows", 0), f"{written} entries written, {begun.get('flows', 0)} flows")
        elif phase == "s":
            claim(event["id"] not in starts, f"two flows {event['id']}")
            if claim(stack and stack[-1]["cat"] == "fault", f"{event} starts in no fault"):
                stack[-1]["flows"] = stack[-1].get("flows", 0) + 1
                starts[event["id"]] = stack[-1]["args"]["number"]
        elif phase == "f":
            claim(event["id"] in starts, f"{event} has no beginning")
            waiting[track] = event
        elif phase == "X":
            flow = waiting.pop(track, None)
            if flow:
                claim(flow["id"] == event["args"]["number"] and flow["ts"] == event["ts"], f"{flow} leads to {event}")
                claim(event["args"]["fault"] == starts.get(flow["id"]), f"{flow} comes from another fault than {event}'s")
    claim(not waiting, f"flows that lead nowhere: {waiting}")
    claim(not any(open_slices.values()), "slices without an end")
    return len(starts)


def check_rows(events, path):
    """Every row is told, with the same fields."""
    told = {e["args"]["number"]: e for e in events if "number" in e.get("args", {})}
    ends = 0
    rows = 0
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows += 1
            if row["event"] in ENDS:
                ends += 1
                continue
            event = told.pop(int(row["number"]), None)
            if not claim(event, f"row {row['number']}, {row['event']}, is missing"):
                continue
            claim(Decimal(row["time"]) == event["ts"] / 1000000, f"row {row['number']}: {row['time']} is {event['ts']}")
            claim((row["vm"] or "0") == str(event["pid"]), f"row {row['number']} is of VM {row['vm']}, not {event['pid']}")
            for name, value in row.items():
                if name not in COMMON:
                    claim(str(event["args"].get(name, "")) == value, f"row {row['number']}: {name} is {event['args'].get(name)}, not {value}")
    claim(not told, f"events that are no rows: {list(told)[:3]}")
    return rows, ends


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        trace = json.load(file, parse_float=Decimal, parse_int=int)
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    # One validator for all, and only so many events of each phase: the rest have the same form.
    validator = jsonschema.Draft7Validator(schema)
    seen, sample = {}, []
    for event in trace["traceEvents"]:
        key = event["ph"], event.get("name")
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= 200:
            sample.append(event)
    for error in validator.iter_errors(dict(trace, traceEvents=sample)):
        claim(False, f"{list(error.path)}: {error.message[:200]}")
    flows = check_slices(trace["traceEvents"])
    rows, ends = check_rows(trace["traceEvents"], sys.argv[2])
    for problem in problems:
        print(problem)
    print(f"{rows} rows, {ends} of them ends, {flows} flows")
    return 1 if problems or not rows else 0


sys.exit(main())
