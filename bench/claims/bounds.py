# SPDX-License-Identifier: BSD-2-Clause
"""What the figures must not exceed. All bounds stand here; `make claims` and `make test` hold to them."""

# Exits that must not be at all: under nested paging the guest's own paging is nobody else's affair.
NEVER = {run: ("CR3 write", "CR3 read", "INVLPG", "#PF") for run in ("npt-qemu", "ept-bochs")}

# Of KVM's exits in the same phase: fewer than all of them, or at most this part.
FEWER = {
    "npt-qemu": ("boot", "touch", "fork", "fork-touch", "exec", "mmap", "switch", "mprotect"),
    "shadow-qemu": ("boot", "touch", "fork", "exec", "switch", "mprotect"),
}
AT_MOST = {
    "shadow-qemu": {"fork-touch": 0.5, "mmap": 0.5},
}


def exceeded(run, figures):
    """One line for each bound that this run does not keep."""
    lines = []
    for phase in figures:
        name, exits, kvm = phase["name"], phase["exits"], phase["kvm"].get("exits")
        for cause in NEVER.get(run, ()):
            if phase["exits_by_cause"][cause]:
                lines.append(f"{run}, {name}: {phase['exits_by_cause'][cause]:,} exits for {cause}, not one is allowed")
        if name in FEWER.get(run, ()) and not exits < kvm:
            lines.append(f"{run}, {name}: {exits:,} exits are not fewer than KVM's {kvm:,}")
        part = AT_MOST.get(run, {}).get(name)
        if part and exits > part * kvm:
            lines.append(f"{run}, {name}: {exits:,} exits are more than {part:.0%} of KVM's {kvm:,}")
    return lines
