#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""Does babeltrace2 read from a CTF trace what the CSV of the same trace says, field by field?

    ctf.py TRACE.ctf EVENTS.csv [FIRST_NS]

FIRST_NS: what the recording's clock showed at the first event. Prints what was read.
"""

import csv
import sys

import bt2

ABSENT = {"vm": "0", "vcpu": "-1", "tid": "-1", "fault": "-1", "root": "0", "table": "0x0", "lost": "0", "rip": "0x0"}
problems = []


def claim(holds, what):
    if not holds and len(problems) < 10:
        problems.append(what)


def value_of(field):
    """As the CSV writes it."""
    if isinstance(field, bt2._UnsignedEnumerationFieldConst):
        return field.labels[0] if field.labels else ""
    if isinstance(field, bt2._StringFieldConst):
        return str(field)
    if isinstance(field, bt2._IntegerFieldConst):
        return hex(int(field)) if field.cls.preferred_display_base == 16 else str(int(field))
    raise TypeError(type(field))


def check_event(event, time, row):
    fields = {**event.common_context_field, **event.payload_field}
    claim(event.name == row["event"], f"row {row['number']} is a {row['event']}, not a {event.name}")
    seconds, nanoseconds = row["time"].split(".")
    claim(time == int(seconds) * 10**9 + int(nanoseconds), f"row {row['number']} is at {row['time']}, not {time} ns")
    for name, field in fields.items():
        got, expected = value_of(field), row[name]
        # A number that is not there has a value all the same in CTF; hpa and origin have none of their own.
        if expected == "" and (name in ("hpa", "origin", "result", "cause", "reason") or got == ABSENT.get(name, "")):
            continue
        claim(got == expected, f"row {row['number']}: {name} is {got}, not {expected}")
    for name, expected in row.items():
        claim(name in fields or name in ("time", "event") or expected == "", f"row {row['number']}: no {name}")


def main():
    rows = csv.DictReader(open(sys.argv[2], newline="", encoding="utf-8"))
    events = packets = discarded = losses = 0
    last = None
    for message in bt2.TraceCollectionMessageIterator(sys.argv[1]):
        if isinstance(message, bt2._EventMessageConst):
            row = next(rows, None)
            if row is None:
                claim(False, "more events than rows")
                break
            events += 1
            time = message.default_clock_snapshot
            if events == 1 and len(sys.argv) > 3:
                first = time.ns_from_origin - time.value
                claim(first == int(sys.argv[3]), f"the clock's offset is {first} ns")
            check_event(message.event, time.value, row)
            last = time.value
        elif isinstance(message, bt2._PacketBeginningMessageConst):
            packets += 1
        elif isinstance(message, bt2._DiscardedEventsMessageConst):
            losses += 1
            discarded += message.count
            claim(last is None or message.beginning_default_clock_snapshot.value == last, f"loss {losses} begins elsewhere than at the last event")
    claim(next(rows, None) is None, "more rows than events")
    for problem in problems:
        print(problem)
    print(f"{events} events, {packets} packets, {losses} losses, {discarded} discarded")
    return 1 if problems or not events else 0


sys.exit(main())
