# SPDX-License-Identifier: BSD-2-Clause
"""The machine tests' cases, and the files that they need."""
import dataclasses
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kvm" / "lab"))
import lab  # noqa: E402 -- it stands beside the KVM lab's own tests
import linux_image  # noqa: E402 -- it stands beside the KVM lab's own tests

# Exit statuses of `vmmu run` (docs/man/vmmu-run.1).
REBOOT, TRIPLE_FAULT, HALTED, FAILED, REFUSED, CANNOT_START, OUT_OF_TIME = 101, 102, 103, 104, 105, 121, 124
ENDED_BY_USER, TERMINATED = 130, 143

GUEST_TESTS = ("platform", "memory", "exec", "mmio", "time", "control", "debug", "nmi", "delivery", "delivery-paging", "delivery-tables", "paging", "hostile", "registers", "slots",
               "slots-random", "touch")

# What depends on the size of pages: timers and clocks do not.
PAGE_TESTS = tuple(test for test in GUEST_TESTS if test != "time")

# What the 32-bit guest does with paging off.
FLAT_TESTS = ("platform", "slots", "slots-random", "touch")

# What guests do to their own page tables; those for the 32-bit guest, and one more.
STRESS_TESTS = ("stress-switch", "stress-alias", "stress-stores", "stress-reuse", "stress-large", "stress-garbage",
                "stress-control")
STRESS_LEGACY = STRESS_TESTS + ("stress-off",)


NESTED_VMX = ("nested-vmx", "nested-vmx-controls", "nested-vmx-edges")

# What a guest's guest did, and which exit its hypervisor got.
NESTED_ANSWERS = r"^nested: (.+), exit (.+)$"


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    about: str
    machine: str
    kernel: str                 # name of a file in Files
    append: str = ""
    initrd: str = ""
    modules: tuple = ()         # names, or NAME=TEXT
    memory: str = "128M"
    page_size: str = "4k"
    mmu: str = ""               # for --mmu; else the machine's own. "bare": without the visor (bare.py)
    options: tuple = ()         # more words for `vmmu run`
    keys: str = ""              # what is typed at the console once it shows `prompt`
    signal: int = 0             # what `vmmu run` is sent then
    prompt: str = r"^/ # "
    terminal: bool = False      # it is typed on a terminal
    trace: bool = False
    small: str = ""             # size of a file system of its own for the trace, which is not looked at
    status: int = 0             # of `vmmu run`
    statuses: tuple = ()        # ... or one of these
    console: tuple = ()         # regular expressions that the guest's console must contain
    messages: tuple = ()        # ... that vmmu's own messages must contain
    at_most: tuple = ()         # (regular expression, number): what its group shows on the console is no more
    may_fail: bool = False      # lines with FAIL are what is expected
    starts: bool = True         # there is a VM, and a summary
    bounded: bool = False       # no exit may be long on Bochs either
    phases: str = ""            # the run of bench/claims whose bounds its phases must keep
    large: str = ""             # a level that must have entries; else there may be none above 4 KiB
    hardware: tuple = ()        # words for QEMU that change the machine
    cost: int = 10              # seconds, roughly
    long: bool = False          # only with --long
    answers: str = ""           # lines of the console, and in them what must be the same in all cases that have it


class Files:
    """Files by name; the damaged ones are made here."""

    def __init__(self, build, linux, work):
        work.mkdir(parents=True, exist_ok=True)
        self.work = work
        self.build = build
        self.files = {
            "guest": build / "guest" / "guest.elf",
            "guest64": build / "guest" / "guest64.elf",
            "legacy": build / "guest" / "legacy.elf",
            "permission": build / "guest" / "permission.elf",
            "own_gdt": build / "guest" / "own_gdt.elf",
            "linux": linux,
            "workload": build / "initramfs" / "workload.cpio.gz",
            "workload32": build / "initramfs" / "workload32.cpio.gz",
            "linux-pae": linux and linux.parent.parent / "686-pae" / "vmlinuz",
            "linux-32": linux and linux.parent.parent / "686" / "vmlinuz",
            "ptrace": build / "initramfs" / "ptrace.cpio.gz",
            "run": build / "initramfs" / "run.cpio.gz",
            "phases": build / "initramfs" / "phases.cpio.gz",
            "visor": build / "visor.elf",
            "xen": linux and linux.parent.parent / "xen" / "xen",
            "absent": work / "no-such-file",
        }
        self.make()

    def put(self, name, content):
        path = self.work / name
        path.write_bytes(content)
        self.files[name] = path

    def make(self):
        guest = self.files["guest"].read_bytes()
        self.put("module", bytes((i * 7 + i // 256) & 0xff for i in range(10000)))
        self.put("text", b"This is not a kernel.\n" * 1000)
        self.put("guest-truncated", guest[:20000])
        self.put("guest-header-only", guest[:40])
        if self.files["linux"] and self.files["linux"].exists():
            linux = self.files["linux"].read_bytes()
            self.put("linux-truncated", linux[:len(linux) // 2])
            self.make_kvm()

    def make_kvm(self):
        """Debian's kernel with KVM, which runs the small VMM; where its modules and the VMM are."""
        folder, tools = self.files["linux"].parent, self.build / "kvm-lab"
        if not (tools / "vmm").exists() or not list(folder.glob("lib/modules/*")):
            return
        job = "exec >/dev/console 2>&1; dmesg | grep -E 'SVM:|kvm'; vmm --memory 16 write:200 read:100 cpuid:10 device:5 log:on write:50 log:get discard:20 write:100; echo vmm-ended $?"
        for name, machine, parameters in (("kvm-npt", "qemu", "npt=1"), ("kvm-shadow", "qemu", "npt=0"),
                                          ("kvm-ept", "bochs", "ept=1"), ("kvm-shadow-vmx", "bochs", "ept=0")):
            self.put(name, lab.image(machine, folder, tools, job, 300, vendor=parameters))
        for name, machine in (("kvm-linux-npt", "qemu"), ("kvm-linux-ept", "bochs")):
            self.put(name, linux_image.image(machine, folder, tools, self.files["workload"]))

    def missing(self, case):
        """The first file that the case needs and that cannot be had here."""
        for name in (case.kernel, case.initrd, *(module.partition("=")[0] for module in case.modules)):
            path = self.files.get(name)
            if name and name != "absent" and not (path and path.exists()):
                return name
        return None

    def path(self, name):
        return pathlib.Path(self.files[name])


def guest(name, about, machine, tests, **more):
    """
    A run of the test guest with the visor's test device. On QEMU virtual time counts
    instructions, so that a busy host cannot make the guest's clocks disagree.
    """
    large = {"4k": "", "2m": "2", "1g": "3"}[more.get("page_size", "4k")]
    return Case(name=name, about=about, machine=machine, kernel=more.pop("kernel", "guest"),
                append=f"tests={','.join(tests)} {more.pop('words', '')}".strip(),
                options=("--test-device",) + (("--icount",) if machine == "qemu" else ()) + more.pop("options", ()),
                trace=more.pop("trace", True), large=large,
                console=tuple(f"^PASS {test} [1-9]" for test in tests), **more)


def around(machine, mmu, pages, **more):
    return guest(f"{machine}-around-{pages}", f"up to {pages} pages mapped by a violation, {mmu}", machine, ("fault-around",),
                 words=f"around={pages}", options=("--fault-around", str(pages), *more.pop("options", ())), **more)


def bochs_words(kernel):
    """Its serial port is slow, and so are the self-tests of the i386 kernels' ciphers."""
    return "quiet" if kernel == "linux" else "quiet cryptomgr.notests"


def linux(machine, page_size, kernel="linux", initrd="workload", **more):
    return Case(name=f"{machine}-{kernel}-{page_size}", machine=machine, kernel=kernel, initrd=initrd,
                about=f"Debian's kernel and a workload, pages up to {page_size}",
                append=bochs_words(kernel) if machine == "bochs" else "",
                memory="256M", page_size=page_size, trace=True, large="" if page_size == "4k" else "2",
                console=("^vmmu-workload: PASS ",), **more)


def shadow_guest(machine, page_size, tests=GUEST_TESTS):
    return guest(f"{machine}-shadow-guest-{page_size}", f"guest tests on shadow tables, pages up to {page_size}", machine,
                 tests, page_size=page_size, mmu="shadow", words="steps=300 mmu=shadow", cost=20)


def flat(machine, mmu, page_size="4k"):
    return guest(f"{machine}-flat-{mmu}-{page_size}", f"a 32-bit guest with paging off, {mmu}, pages up to {page_size}",
                 machine, FLAT_TESTS, kernel="legacy", page_size=page_size, mmu=mmu, words=f"steps=300 mmu={mmu}")


def stress(machine, mmu, kernel="guest", page_size="4k", seed=1, load=100, **more):
    """The 64-bit guest has 4-level and, where it can, 5-level paging; the 32-bit one ("legacy") 32-bit, PAE and none."""
    tests = STRESS_LEGACY if kernel == "legacy" else STRESS_TESTS
    name, words = f"{machine}-stress-{mmu}-{kernel}-{page_size}", f"load={load} seed={seed} mmu={mmu}"
    if mmu == "bare":
        return Case(name=name, about="page tables under stress, without the visor", machine=machine, mmu=mmu,
                    kernel=kernel, append=f"tests={','.join(tests)} {words}", starts=False,
                    console=tuple(f"^PASS {test} [1-9]" for test in tests), **more)
    if machine == "bochs" and kernel == "guest":
        tests += ("stress-pcid",)  # QEMU's emulation has no PCIDs
    if kernel == "guest":
        tests += ("stress-hostile",)  # last: what it leaves in its registers is its own affair
    return guest(name, f"page tables under stress, {mmu}, pages up to {page_size}", machine, tests, kernel=kernel,
                 page_size=page_size, mmu=mmu, words=words, **more)


def ahead(machine, mmu, kernel="guest", run_ahead=True, cost=10, long=False):
    """User programs that touch page after page (tests/guest/ahead.c); all of them must find the same everywhere."""
    name, words = f"{machine}-ahead-{mmu}-{kernel}" + ("" if run_ahead else "-off"), f"mmu={mmu}"
    if mmu == "bare":
        return Case(name=name, about="programs that touch page after page, without the visor", machine=machine, mmu=mmu,
                    kernel=kernel, append="tests=ahead", starts=False, console=("^PASS ahead [1-9]",), cost=cost, long=long)
    return guest(name, f"programs that touch page after page, {mmu}" + ("" if run_ahead else ", not run ahead"), machine,
                 ("ahead",), kernel=kernel, mmu=mmu, words=words + ("" if run_ahead else " run-ahead=off"),
                 options=() if run_ahead else ("--no-run-ahead",), cost=cost, long=long)


def nested(machine, extension, mmu, page_size="4k", cost=4, tests=None, long=False, kernel="guest"):
    """A hypervisor of a few lines and its guests (tests/guest/nested_*.c); the bare machine says what is right."""
    name, tests = f"nested-{extension}", tests or (f"nested-{extension}",)
    if mmu == "bare":
        return Case(name=f"{machine}-{name}-bare", about="a small hypervisor, without the visor", machine=machine, mmu=mmu, kernel=kernel,
                    append=f"tests={','.join(tests)}", starts=False, console=tuple(f"^PASS {test} [1-9]" for test in tests),
                    answers=NESTED_ANSWERS, cost=cost)
    return guest(f"{machine}-{name}-{page_size}", f"a small hypervisor as the guest, pages up to {page_size}", machine, tests,
                 page_size=page_size, options=("--nested",), answers=NESTED_ANSWERS, cost=cost, long=long, kernel=kernel)


def kvm(tables):
    """Debian's kernel with kvm-amd as the guest, and its own guest, which touches pages: npt or shadow."""
    return Case(name=f"qemu-nested-kvm-{tables}", about=f"Debian's KVM as the guest, with {tables} for its own", machine="qemu",
                kernel="linux", initrd=f"kvm-{tables}", append="quiet mitigations=off", memory="512M", page_size="2m", large="2",
                options=("--nested", "--icount"), trace=True, cost=25,
                console=(f"kvm: Nested Paging {'enabled' if tables == 'npt' else 'disabled'}", r"^vmm: write:100 ", "^vmm-ended 0$"))


def kvm_cost():
    """What the guest of that KVM pays for an exit, in instructions (docs/nested.md); a trace would make it more."""
    return Case(name="qemu-nested-kvm-cost", about="what an exit of a guest's guest costs, with KVM between", machine="qemu",
                kernel="linux", initrd="kvm-npt", append="quiet nokaslr mitigations=off", memory="512M", page_size="2m", large="2",
                options=("--nested", "--icount"), cost=15, console=("^vmm-ended 0$",),
                at_most=((r"^vmm: cpuid:10 vcpu=0 .*median=(\d+)", 8600), (r"^vmm: write:200 vcpu=0 .*min=(\d+)", 13500)))


def kvm_intel(tables, **more):
    """The same with kvm-intel: ept, or shadow-vmx."""
    return Case(name=f"bochs-nested-kvm-{tables}", about=f"Debian's KVM as the guest, with {tables} for its own", machine="bochs",
                kernel="linux", initrd=f"kvm-{tables}", append="quiet mitigations=off", memory="256M", page_size="2m", large="2",
                options=("--nested",), trace=True, console=(r"^vmm: write:100 ", "^vmm-ended 0$"), **more)


def kvm_linux(machine, tables, **more):
    """Debian's kernel with KVM as the guest, and in it a small VMM that boots the same kernel and the workload."""
    return Case(name=f"{machine}-nested-kvm-linux-{tables}", about=f"Linux in Debian's KVM in the visor, {tables} on {tables}", machine=machine,
                kernel="linux", initrd=f"kvm-linux-{tables}", append="quiet mitigations=off", memory="512M", page_size="2m", large="2",
                options=("--nested",) + (("--icount",) if machine == "qemu" else ()), trace=True,
                console=("^vmmu-workload: PASS ", "^linux-ended 0$"), **more)


def in_itself_small(machine, **more):
    """The visor's own image as the guest, and the test guest as its own."""
    tests = ("platform", "memory", "exec", "paging", "touch")
    return Case(name=f"{machine}-nested-visor-guest", about="vmmu in vmmu: the visor as the guest, the test guest as its own", machine=machine,
                kernel="visor", modules=("guest=vmmu:kernel",), memory="256M", page_size="2m", large="2", trace=True,
                append=f"memory=128M at-end=exit -- tests={','.join(tests)},end-by-power-off every-mib=16",
                options=("--nested",) + (("--icount",) if machine == "qemu" else ()),
                console=tuple(f"^PASS {test} [1-9]" for test in tests), **more)


def in_itself(machine, **more):
    """The visor's own image as the guest: it boots Linux."""
    return Case(name=f"{machine}-nested-visor", about="vmmu in vmmu: the visor as the guest, Linux as its own", machine=machine, kernel="visor",
                modules=("linux=vmmu:kernel", "workload=vmmu:initrd"), memory="512M", page_size="2m", large="2", trace=True,
                append="memory=256M at-end=exit -- console=ttyS0 nokaslr panic=-1 quiet",
                options=("--nested",) + (("--icount",) if machine == "qemu" else ()),
                console=("^vmmu-workload: PASS ",), **more)


# What QEMU can beside the processor that `vmmu run` takes by itself.
QEMU_MORE = ("--cpu", "EPYC,+svm,+npt,+umip,+pku,+la57")


def shadow_linux(machine, page_size, kernel="linux", initrd="workload", name="", options=(), words="", **more):
    return Case(name=f"{machine}-shadow-{name or kernel}-{page_size}", machine=machine, kernel=kernel, initrd=initrd,
                about=f"Debian's kernel on shadow tables, pages up to {page_size}", memory="256M",
                append=((bochs_words(kernel) if machine == "bochs" else "quiet") + " " + words).strip(),
                page_size=page_size, mmu="shadow", trace=True, large="" if page_size == "4k" else "2",
                options=(("--icount",) if machine == "qemu" else ()) + options, console=("^vmmu-workload: PASS ",),
                cost=30 if machine == "qemu" else 100, **more)


def intercepting(machine, mmu, kernel):
    """Loads of CR3 and INVLPG are carried out by the visor, where nothing else would ask for that."""
    tests = ("claims",) if kernel == "guest" else ()
    return guest(f"{machine}-intercept-{mmu}-{kernel}", f"loads of CR3 and INVLPG intercepted, {mmu}", machine,
                 tests + ("stress-switch", "stress-alias", "stress-reuse"), kernel=kernel, page_size="4k", mmu=mmu,
                 words=f"load=20 seed=5 mmu={mmu}", options=("--intercept=cr3,invlpg",), cost=15)


def claims(mmu):
    """The phases of `make claims`, run as it runs them."""
    return Case(name=f"qemu-claims-{mmu}", machine="qemu", mmu=mmu, kernel="linux", initrd="phases", memory="256M",
                about=f"the bounds of make claims, {mmu}", append="quiet mitigations=off norandmaps",
                options=("--icount", "--prealloc", "--test-device"), console=("^vmmu-phases: PASS$",),
                phases=f"{mmu}-qemu", cost=15)


# What the emulators' own CPUs do otherwise than hardware (tests/guest/permission/main.c).
DEVIATIONS = {"qemu": "tcg-reserved,tcg-accessed", "bochs": "bochs-implicit"}


def permission(machine, mmu, page_size="2m", every=61, **more):
    """One combination of permission bits in `every`. On QEMU's shadow tables each answer is the engine's."""
    allow = "" if (machine, mmu) == ("qemu", "shadow") else f" allow={DEVIATIONS[machine]}"
    return Case(name=f"{machine}-permission-{mmu}-{page_size}", machine=machine, mmu=mmu, kernel="permission",
                about=f"permission bits against a model, {mmu}, pages up to {page_size}", page_size=page_size,
                append=f"every={every}{allow}", large="" if page_size == "4k" else "2", starts=mmu != "bare",
                console=("^PASS permission ",), answers=r"^permission: (.+ combinations), digest (\w+)$", **more)


def permissions(every=61):
    return [
        permission("qemu", "bare", every=every, options=QEMU_MORE, cost=3),
        permission("qemu", "npt", every=every, options=QEMU_MORE, cost=3),
        permission("qemu", "shadow", "4k", every=every, options=QEMU_MORE, cost=18),
        permission("qemu", "shadow", every=every, trace=every > 1, cost=8, long=True),
        permission("bochs", "bare", every=every),
        permission("bochs", "ept", every=every),
        permission("bochs", "shadow", every=every, cost=36),
    ]


def end(name, about, test, status, **more):
    """A guest that ends in its own way."""
    return Case(name=name, about=about, machine="qemu", kernel="guest", append=f"tests={test}",
                status=status, cost=3, **more)


def ended(name, machine, mmu, test="end-by-nobody", said="^no pause and no end, ", timeout=0, **more):
    """A guest that never ends is ended by a signal, or after `timeout` seconds, and all is told as at any other end."""
    status = OUT_OF_TIME if timeout else TERMINATED
    return Case(name=name, about="a guest that goes on for ever: ended, with summary and trace", machine=machine, mmu=mmu,
                kernel="guest", append=f"tests={test}", options=("--timeout", str(timeout)) if timeout else (),
                signal=0 if timeout else signal.SIGTERM, prompt=said, status=status, trace=True, console=(said,),
                messages=("out of time after" if timeout else "ended by signal 15", f"^vmmu: killed, exit status {status}",
                          "^  guest at +rip 0x[0-9a-f]+", "^  exits +[0-9,]+", "^  audit +no findings"), **more)


def full_disk(machine):
    """The file system that the trace is on has no room: the guest goes on, and the user is told."""
    return Case(name=f"{machine}-full-disk", about="a trace on a full file system: the guest passes, the loss is told",
                machine=machine, kernel="guest", append="tests=touch", memory="64M", options=("--test-device",),
                small="1m", status=CANNOT_START, console=("^PASS touch ",), cost=8, starts=False,
                messages=("is not whole: its file system is full, and [0-9]+ records were lost",))


# Bochs 2.7's SVM: DR6 tells nothing of a trap that exits, and the CR2 of an injected #PF is lost where
# its delivery faults.
SVM_ON_BOCHS_CANNOT = {"npt": ("debug",), "shadow": ("debug", "delivery", "delivery-paging")}

# One fault of each kind; all of them are made on QEMU.
FAULTS_ON_BOCHS = ("write-text", "execute-guest", "page-0", "stack-guard")

HOSTILE_MACHINES = (("qemu", "npt"), ("qemu", "shadow"), ("bochs", "ept"), ("bochs", "shadow"))
# A guest that runs random bytes may end in any way but one: the visor's own.
ANY_END = (0, 1, REBOOT, TRIPLE_FAULT, HALTED, FAILED, OUT_OF_TIME)


def hostile_code(machine, mmu, seed=1, load=100, seconds=None, **more):
    """Random bytes as a kernel's code. However the guest ends, the visor must be there to tell of it, unchanged."""
    statuses = ANY_END + tuple(range(2, 100))  # it may write any to the port where a guest ends, or come to an end of ours
    seconds = seconds or (20 if machine == "qemu" else 40)
    return Case(name=f"{machine}-hostile-code-{mmu}", about=f"a guest that runs random bytes, {mmu}", machine=machine, mmu=mmu,
                kernel="guest", append=f"tests=stress-code load={load} seed={seed} mmu={mmu}", statuses=statuses, may_fail=True,
                options=("--timeout", str(seconds)) + (("--icount",) if machine == "qemu" else ()), console=("^stress-code: begins",),
                messages=("^  audit +no findings",), cost=seconds // 2, **more)


def hostile_modes(machine, mmu, seed=11, load=10, seconds=None):
    """Random code at CPL 3 and in virtual-8086 mode."""
    tasks = 0 if (machine, mmu) == ("qemu", "shadow") else 1
    case = hostile_code(machine, mmu, seed, seconds=seconds or (8 if machine == "qemu" else 20))
    return dataclasses.replace(case, name=f"{machine}-hostile-modes-{mmu}", about=f"a 32-bit guest that runs random programs, {mmu}",
                               kernel="legacy", append=f"tests=stress-modes load={load} seed={seed} mmu={mmu} tasks={tasks}",
                               console=("^stress-modes: begins",))


def refused(name, about, messages, status=CANNOT_START, **more):
    """Something that cannot be run: the message must say why."""
    return Case(name=name, about=about, machine="qemu", starts=False, status=status, messages=messages,
                cost=2, **more)


CASES = [
    guest("qemu-guest-4k", "every guest test, 4 KiB pages", "qemu", GUEST_TESTS, words="steps=400"),
    guest("qemu-guest-2m", "every guest test but the clocks', pages up to 2 MiB", "qemu", PAGE_TESTS, page_size="2m",
          words="steps=400 seed=2"),
    guest("qemu-guest-1g", "every guest test but the clocks', pages up to 1 GiB", "qemu", PAGE_TESTS, page_size="1g",
          memory="2560M", words="steps=150 seed=3", cost=15),
    guest("qemu-guest-high", "memory below and above 4 GiB", "qemu", ("touch",), memory="4G"),
    guest("qemu-guest-prealloc", "frames that are there before the first fault", "qemu",
          ("touch", "slots"), options=("--prealloc",)),
    around("qemu", "npt", 1),
    around("qemu", "npt", 2),
    around("qemu", "npt", 16),
    around("qemu", "npt", 64),
    around("bochs", "ept", 64, cost=15),
    guest("qemu-around-slots", "slots that come, go and move, with neighbours mapped", "qemu", ("slots", "slots-random", "memory", "exec"),
          page_size="2m", words="steps=500 seed=7", options=("--fault-around", "8")),
    guest("qemu-around-nested-svm", "a small hypervisor as the guest, with neighbours mapped", "qemu", ("nested-svm",),
          options=("--nested", "--fault-around", "32"), answers=NESTED_ANSWERS, cost=4),
    guest("qemu-guest-elf64", "the same image as ELF64, with two modules", "qemu", ("platform",),
          kernel="guest64", modules=("module", "module"), words="modules=2 module-bytes=10000"),
    guest("bochs-guest-4k", "every guest test, 4 KiB pages", "bochs", GUEST_TESTS, words="every-mib=16 steps=150", cost=30),
    guest("bochs-guest-2m", "every guest test, pages up to 2 MiB", "bochs", GUEST_TESTS, page_size="2m",
          words="seed=2 every-mib=16", cost=60, long=True),
    linux("qemu", "4k", cost=15),
    linux("qemu", "2m", cost=15),
    linux("qemu", "4k", "linux-pae", "workload32", cost=15),
    linux("qemu", "2m", "linux-pae", "workload32", cost=15, long=True),
    linux("qemu", "4k", "linux-32", "workload32", cost=15),
    linux("qemu", "2m", "linux-32", "workload32", cost=15, long=True),
    shadow_guest("qemu", "4k"),
    shadow_guest("qemu", "2m", PAGE_TESTS),
    shadow_linux("qemu", "4k", long=True),
    shadow_linux("qemu", "2m"),
    shadow_linux("qemu", "4k", "linux-pae", "workload32"),
    shadow_linux("qemu", "2m", "linux-pae", "workload32", long=True),
    shadow_linux("qemu", "4k", "linux-32", "workload32"),
    shadow_linux("qemu", "2m", "linux-32", "workload32", long=True),
    shadow_linux("qemu", "4k", name="linux-5-level", options=QEMU_MORE, long=True),
    shadow_linux("qemu", "4k", name="linux-kpti", words="pti=on"),
    guest("qemu-shadow-guest-keys", "protection keys on shadow tables", "qemu", ("control",), mmu="shadow",
          words="mmu=shadow", options=QEMU_MORE),
    *[guest(f"{machine}-{mmu}-breakpoints", f"a guest's breakpoints on the visor's code and stack, {mmu}", machine,
            ("breakpoints",), mmu=mmu if mmu == "shadow" else "", cost=5, words=f"mmu={mmu} stack=@boot_stack_end frames=@visor_image_end code="
            + "+".join(f"@{name}" for name in ("exit_cpuid", "exit_finish", "exit_io", f"{make}_exit", f"{make}_handle",
                                              f"{make}_loop", "exit_msr", "trap_handler", *more)))
      for machine, mmu, make, more in (
          ("qemu", "npt", "svm", ("svm_armed_start", "svm_arm_breakpoints")),
          ("qemu", "shadow", "svm", ("svm_armed_start", "svm_arm_breakpoints")),
          ("bochs", "ept", "vmx", ("vmx_exit_entry",)), ("bochs", "shadow", "vmx", ("vmx_exit_entry",)))],
    *[Case(f"qemu-{mmu}-breakpoint-by-ptrace", f"an ordinary process' breakpoint on the visor's code, {mmu}", "qemu", "linux",
           "quiet vmmu.breakpoint=@exit_cpuid", "ptrace", mmu=mmu, memory="256M", page_size="2m", large="2", cost=8,
           options=("--icount",), console=("^vmmu-ptrace: PASS",)) for mmu in ("npt", "shadow")],
    *[guest(f"{machine}-{mmu}-nmi", f"NMIs, blocked until IRET, {mmu}", machine, ("nmi",), cost=5,
            mmu=mmu if mmu == "shadow" else "", words=f"mmu={mmu}", long=True)
      for machine, mmu in (("qemu", "npt"), ("qemu", "shadow"), ("bochs", "ept"), ("bochs", "shadow"))],
    *[guest(f"{machine}-{mmu}-fresh", f"registers that nobody has written, {mmu}", machine, ("fresh",), cost=5,
            mmu=mmu if mmu == "shadow" else "", words=f"mmu={mmu}")
      for machine, mmu in (("qemu", "npt"), ("qemu", "shadow"), ("bochs", "ept"), ("bochs", "shadow"))],
    *[Case(f"{machine}-protect-{name}", f"the visor is kept from this by its own tables: {name}", machine, "guest",
           f"tests=end-by-violation which={which}", options=("--test-device",), status=FAILED, cost=3,
           starts=False, messages=(message,), long=machine == "bochs" and name not in FAULTS_ON_BOCHS)
      for machine in ("qemu", "bochs") for which, (name, message) in enumerate((
          ("write-text", r"visor: page fault \(vector 14, error 3\)"),
          ("write-constant", r"visor: page fault \(vector 14, error 3\)"),
          ("execute-data", r"visor: page fault \(vector 14, error 11\)"),
          ("execute-stack", r"visor: page fault \(vector 14, error 11\)"),
          ("execute-guest", r"visor: page fault \(vector 14, error 11\)"),
          ("page-0", r"visor: page fault \(vector 14, error 0\)"),
          ("first-mib", r"visor: page fault \(vector 14, error 0\)"),
          ("stack-guard", r"visor: double fault"),
          ("canary", r"visor: a buffer on the visor's stack has overflowed")), 1)],
    *[Case(f"{machine}-changed-{name}", f"a changed visor is noticed at the end: {said}", machine, "guest",
           f"tests=end-by-violation which={which}", options=("--test-device",), status=FAILED, cost=3,
           messages=(f"visor: the visor's own {said} have changed while the guest ran",), long=machine == "bochs" and name != "gate")
      for machine in ("qemu", "bochs") for which, (name, said) in enumerate((
          ("code", "code"), ("constant", "read-only data"), ("page-table", "page tables"), ("gate", "descriptor tables")), 11)],
    *[hostile_code(machine, mmu) for machine, mmu in HOSTILE_MACHINES],
    *[hostile_modes(machine, mmu) for machine, mmu in HOSTILE_MACHINES],
    *[guest(f"{machine}-{mmu}-refused", f"a program with what the visor does not carry out gets #UD, {mmu}", machine, ("refused",),
            kernel="legacy", mmu=mmu, words=f"mmu={mmu}", trace=False, cost=3) for machine, mmu in HOSTILE_MACHINES],
    # SVM on another emulator than QEMU.
    *[guest(f"bochs-svm-{mmu}-events", f"NMIs and registers under SVM on Bochs, {mmu}", "bochs", ("fresh", "nmi", "registers"),
            mmu=mmu, words=f"mmu={mmu}", cost=5, options=("--cpu", "ryzen")) for mmu in ("npt", "shadow")],
    *[guest(f"bochs-svm-{mmu}-guest", f"what SVM on Bochs can of the guest tests, {mmu}", "bochs",
            tuple(t for t in GUEST_TESTS if t not in SVM_ON_BOCHS_CANNOT[mmu]), mmu=mmu,
            words=f"mmu={mmu} every-mib=16 steps=100", cost=60, options=("--cpu", "ryzen")) for mmu in ("npt", "shadow")],
    *[guest(f"bochs-svm-{mmu}-hostile", f"hostile instructions, registers, ports and memory under SVM on Bochs, {mmu}", "bochs",
            ("stress-hostile",), mmu=mmu, words=f"mmu={mmu} load=10", cost=10, options=("--cpu", "ryzen"))
      for mmu in ("npt", "shadow")],
    *[guest(f"bochs-svm-{mmu}-task-switch", f"hardware task switches under SVM on Bochs, {mmu}", "bochs", ("task-switch",),
            kernel="legacy", mmu=mmu, words=f"mmu={mmu}", cost=5, options=("--cpu", "ryzen")) for mmu in ("npt", "shadow")],
    *[guest(f"{machine}-{mmu}-registers", f"registers that software takes for granted, {mmu}", machine, ("registers",),
            cost=5, long=True, mmu=mmu if mmu == "shadow" else "", words=f"mmu={mmu}")
      for machine, mmu in (("qemu", "npt"), ("qemu", "shadow"), ("bochs", "ept"), ("bochs", "shadow"))],
    guest("qemu-guest-keys", "protection keys under NPT", "qemu", ("control",), options=QEMU_MORE),
    shadow_guest("bochs", "4k"),
    flat("qemu", "npt"),
    flat("qemu", "shadow"),
    flat("qemu", "shadow", "2m"),
    flat("bochs", "ept"),
    flat("bochs", "shadow"),
    stress("qemu", "bare", cost=3, options=QEMU_MORE),
    stress("qemu", "bare", "legacy", cost=3),
    stress("bochs", "bare", "legacy", load=40),
    stress("qemu", "npt"),
    stress("qemu", "npt", "legacy", seed=2),
    stress("qemu", "shadow"),
    stress("qemu", "shadow", page_size="2m", seed=3, load=60, options=QEMU_MORE),
    stress("qemu", "shadow", "legacy", load=25, cost=15),
    stress("qemu", "shadow", "legacy", "2m", seed=4, load=20),
    stress("bochs", "ept", load=40),
    stress("bochs", "ept", "legacy", load=40),
    stress("bochs", "shadow", load=20, cost=20),
    stress("bochs", "shadow", "legacy", load=12, cost=20),
    *[intercepting(machine, mmu, kernel) for machine, mmu, kernel in
      (("qemu", "npt", "guest"), ("qemu", "npt", "legacy"), ("qemu", "shadow", "guest"), ("bochs", "ept", "guest"),
       ("bochs", "ept", "legacy"), ("bochs", "shadow", "guest"))],
    nested("qemu", "svm", "bare"),
    nested("qemu", "svm", "npt"),
    nested("qemu", "svm", "npt", "2m"),
    nested("qemu", "svm-rights", "bare"),
    nested("qemu", "svm-rights", "npt"),
    nested("qemu", "svm-rights", "npt", "2m"),
    nested("qemu", "svm-legacy", "bare", kernel="legacy"),
    nested("qemu", "svm-legacy", "npt", kernel="legacy"),
    nested("qemu", "svm-legacy", "npt", "2m", kernel="legacy"),
    guest("qemu-nested-svm-hostile", "control blocks and tables of random words from a guest hypervisor", "qemu", ("nested-svm-hostile",),
          words="seed=2 rounds=1500", options=("--nested", "--icount")),
    nested("bochs", "vmx", "bare", cost=20, tests=NESTED_VMX),
    nested("bochs", "vmx", "ept", cost=20, tests=NESTED_VMX),
    nested("bochs", "vmx", "ept", "2m", cost=20, tests=NESTED_VMX),
    nested("bochs", "vmx-rights", "bare", cost=20),
    nested("bochs", "vmx-rights", "ept", cost=20),
    nested("bochs", "vmx-rights", "ept", "2m", cost=20, long=True),
    guest("bochs-nested-vmx-hostile", "fields, pages and tables of random words from a guest hypervisor", "bochs", ("nested-vmx-hostile",),
          words="seed=3 rounds=2000", options=("--nested",), bounded=True, cost=20),
    Case("bochs-nested-vmx-abort", "an exit to a guest hypervisor that its own MSR area makes impossible: a triple fault, and told", "bochs",
         "guest", "tests=end-by-vmx-abort", options=("--nested",), status=TRIPLE_FAULT, cost=5, messages=("VMX abort 4 of the guest's own",)),
    kvm_intel("ept", cost=32),
    kvm_intel("shadow-vmx", cost=150, long=True),
    kvm("npt"),
    kvm("shadow"),
    kvm_cost(),
    Case("bochs-nested-kvm-npt", "Debian's KVM as the guest of Bochs' SVM", "bochs", "linux", "quiet mitigations=off", initrd="kvm-npt", mmu="npt",
         memory="256M", page_size="2m", large="2", options=("--nested", "--cpu", "ryzen"), cost=150, long=True,
         console=("kvm: Nested Paging enabled", r"^vmm: write:100 ", "^vmm-ended 0$")),
    # A PV kernel's IRET reads its stack as a supervisor on QEMU, which SMAP refuses; and there is no BIOS for real mode.
    Case("qemu-nested-xen", "Xen as the guest, with SVM, and Debian's kernel as its dom0", "qemu", "xen",
         "no-real-mode smap=0 console=com1 com1=115200,8n1 noreboot dom0_mem=256M", memory="512M", page_size="2m", large="2",
         modules=("linux=placeholder earlyprintk=xen console=hvc0 panic=-1", "run"), options=("--nested",), status=HALTED, cost=30,
         console=(r"^\(XEN\) HVM: SVM enabled", r"^\(XEN\) HVM: Hardware Assisted Paging \(HAP\) detected", "Run /init as init process",
                  "reboot: System halted")),
    kvm_linux("qemu", "npt", long=True, cost=120),
    kvm_linux("bochs", "ept", long=True, cost=200),
    in_itself("qemu", cost=60),
    in_itself_small("bochs", cost=20),
    in_itself("bochs", cost=100, long=True),
    ahead("qemu", "bare", cost=3),
    ahead("qemu", "bare", "legacy", cost=3),
    ahead("bochs", "bare", "legacy", long=True),
    ahead("qemu", "npt"),
    ahead("qemu", "shadow"),
    ahead("qemu", "shadow", run_ahead=False),
    ahead("qemu", "shadow", "legacy"),
    ahead("bochs", "shadow", cost=20),
    ahead("bochs", "shadow", "legacy", cost=35, long=True),
    shadow_linux("bochs", "4k", long=True),
    shadow_linux("bochs", "2m", long=True),
    Case("bochs-shadow-start", "Debian's kernel on VMX's shadow tables, to its first program", "bochs", "linux", "quiet", "run", memory="256M",
         page_size="2m", mmu="shadow", large="2", trace=True, cost=30, console=("^vmmu-run: user space after",)),
    shadow_linux("bochs", "4k", "linux-pae", "workload32", long=True),
    shadow_linux("bochs", "2m", "linux-pae", "workload32", long=True),
    shadow_linux("bochs", "4k", "linux-32", "workload32", long=True),
    shadow_linux("bochs", "2m", "linux-32", "workload32", long=True),
    linux("bochs", "4k", cost=32),
    linux("bochs", "2m", cost=110, long=True),
    linux("bochs", "4k", "linux-pae", "workload32", cost=110, long=True),
    linux("bochs", "2m", "linux-pae", "workload32", cost=110, long=True),
    linux("bochs", "4k", "linux-32", "workload32", cost=110, long=True),
    linux("bochs", "2m", "linux-32", "workload32", cost=110, long=True),
    *permissions(),
    claims("npt"),
    claims("shadow"),
    Case("qemu-greeting", "what `make run` shows", "qemu", "linux", "quiet", "run",
         memory="256M", page_size="2m", large="2", console=("^vmmu-run: user space after",)),
    Case("qemu-shell", "a shell that takes what is typed", "qemu", "linux", "quiet vmmu.shell", "run",
         memory="256M", page_size="2m", large="2", keys="echo sum $((6 * 7))\nexit\n", console=("^sum 42",)),
    end("end-halt", "HLT with interrupts off", "end-by-halt", HALTED),
    end("end-power-off", "ACPI's S5", "end-by-power-off", 0),
    end("end-reset", "a reset", "end-by-reset", REBOOT),
    end("end-triple-fault", "a triple fault", "end-by-triple-fault", TRIPLE_FAULT),
    end("end-faults-upon-faults", "a #PF whose stack is missing, and so is that of #DF: the visor's doing on shadow tables",
        "end-by-faults-upon-faults", TRIPLE_FAULT, mmu="shadow"),
    guest("qemu-real-mode", "real mode under NPT", "qemu", ("real-mode",), kernel="legacy", cost=3),
    guest("qemu-shadow-real-mode", "real mode on shadow tables, which SVM can", "qemu", ("real-mode",), kernel="legacy",
          mmu="shadow", words="mmu=shadow", cost=3),
    guest("bochs-real-mode", "real mode under EPT, by unrestricted guest", "bochs", ("real-mode",), kernel="legacy", cost=5),
    Case("bochs-shadow-real-mode", "real mode on shadow tables, which VMX cannot: a clear end", "bochs", "legacy",
         "tests=real-mode mmu=shadow", mmu="shadow", status=FAILED, cost=5,
         messages=("real mode, where VMX without unrestricted guest cannot follow",)),
    guest("qemu-task-switch", "a hardware task switch under NPT", "qemu", ("task-switch",), kernel="legacy", cost=3),
    Case("qemu-shadow-task-switch", "... which the visor refuses on shadow tables", "qemu", "legacy",
         "tests=task-switch", mmu="shadow", status=FAILED, cost=3, messages=("switched tasks",)),
    Case("qemu-shadow-says-leak", "shadow paging on QEMU isolates nothing, and says so at the start", "qemu", "legacy",
         "tests=touch", mmu="shadow", cost=3, messages=("does not isolate the guest: QEMU does not intercept",)),
    refused("refuse-leak", "... and is refused where isolation is required", ("does not isolate a guest here",),
            kernel="legacy", mmu="shadow", options=("--require-isolation",), status=REFUSED),
    Case("qemu-npt-isolates", "nested paging isolates, and is not refused", "qemu", "legacy", "tests=touch", cost=3,
         options=("--require-isolation",)),
    refused("refuse-no-clock", "a machine without a PIT, whose CPUID does not tell the TSC's rate either",
            ("no clock to measure the TSC by",), kernel="legacy", hardware=("-machine", "pc,pit=off"), status=REFUSED),
    Case("bochs-shadow-isolates", "and so does VMX, with shadow tables too", "bochs", "legacy", "tests=touch", cost=5,
         mmu="shadow", options=("--require-isolation",)),
    guest("bochs-task-switch", "... under EPT, where the visor carries it out", "bochs", ("task-switch",), kernel="legacy", cost=5),
    guest("bochs-shadow-task-switch", "... and on VMX's shadow tables", "bochs", ("task-switch",), kernel="legacy",
          mmu="shadow", words="mmu=shadow", cost=5),
    guest("bochs-umip", "SGDT and the like at CPL 3 under UMIP, which the CPU has not: made of exits", "bochs", ("umip",),
          kernel="legacy", cost=5),
    guest("bochs-shadow-umip", "the same on shadow tables", "bochs", ("umip",), kernel="legacy", mmu="shadow",
          words="mmu=shadow", cost=5),
    guest("qemu-umip", "SGDT and the like at CPL 3 under UMIP, made of exits under SVM", "qemu", ("umip",), kernel="legacy",
          cost=3),
    guest("qemu-shadow-umip", "the same on shadow tables", "qemu", ("umip",), kernel="legacy", mmu="shadow",
          words="mmu=shadow", cost=3),
    guest("qemu-cpu-umip", "the same where the CPU has it", "qemu", ("umip",), kernel="legacy", cost=3, options=QEMU_MORE),
    Case("qemu-own-gdt", "a kernel with a GDT of its own and no jump, that looks for MP table, cursor and keyboard",
         "qemu", "own_gdt", memory="16M", cost=3, options=("--verbose",), messages=("writes to a VGA display",)),
    Case("qemu-shadow-own-gdt", "the same on shadow tables", "qemu", "own_gdt", memory="16M", mmu="shadow", cost=3),
    Case("bochs-own-gdt", "the same under EPT", "bochs", "own_gdt", memory="16M", cost=5),
    Case("qemu-bios-call", "a guest that calls the BIOS: a clear end", "qemu", "legacy", "tests=end-by-bios-call",
         status=FAILED, cost=3, messages=(r"interrupt 10h \(AH=0eh\) by the vector of a BIOS",)),
    Case("bochs-bios-call", "the same under EPT", "bochs", "legacy", "tests=end-by-bios-call",
         status=FAILED, cost=5, messages=(r"interrupt 10h \(AH=0eh\) by the vector of a BIOS",)),
    end("end-root-nowhere", "a CR3 that names no memory: a triple fault", "end-by-root-nowhere", TRIPLE_FAULT),
    end("end-root-nowhere-shadow", "the same on shadow tables", "end-by-root-nowhere", TRIPLE_FAULT, mmu="shadow"),
    end("end-fetch", "instructions where nothing is: a dump, and the visor stays up",
        "end-by-fetching-nothing", FAILED, messages=("executes at gpa d8000000",)),
    end("end-invalid", "guest state that the CPU refuses: a dump, and the visor stays up",
        "end-by-invalid-state", FAILED, messages=("invalid",)),
    ended("end-timeout", "qemu", "npt", timeout=8, cost=8),
    ended("end-timeout-shadow", "qemu", "shadow", timeout=8, cost=8, long=True),
    ended("end-timeout-bochs", "bochs", "ept", timeout=20, cost=20, long=True),
    ended("end-signal-bochs", "bochs", "ept", cost=5),
    # Interrupts are off: on Bochs nothing but the preemption timer gets the visor back.
    *[ended(f"end-{name}-{machine}-{mmu}", machine, mmu, test, said, cost=3 if machine == "qemu" else 5)
      for name, test, said in (("no-exit", "end-by-no-exit", "^interrupts off, no exit and no end"),
                               ("faults-for-ever", "end-by-faults-for-ever", "^interrupts off, faults and no end"))
      for machine, mmu in (("qemu", "npt"), ("qemu", "shadow"), ("bochs", "ept"), ("bochs", "shadow"))],
    *[Case(f"end-ctrl-a-x-{machine}", "Ctrl-A x ends a guest that has interrupts off and never exits, in order", machine, "guest",
           "tests=end-by-no-exit", keys="\x01x", prompt="^interrupts off, no exit", terminal=True, status=ENDED_BY_USER, cost=5,
           messages=("exit status 130", "^  audit +no findings")) for machine in ("qemu", "bochs")],
    *[Case(f"{machine}-stuck-exit", "an exit that does not end: it is told which, where, and for how long", machine, "guest",
           "tests=end-by-violation which=10", options=("--test-device",), status=FAILED, cost=10, starts=False,
           messages=(r"visor: an exit \(io, guest at [0-9a-f]+\) does not end, after [0-9]+ ms: the visor is at [0-9a-f]+",
                     r"an exit \(io, guest at [0-9a-f]+\) does not end, after [0-9]+ ms, at [0-9a-f]+$"))
      for machine in ("qemu", "bochs")],
    full_disk("qemu"),
    full_disk("bochs"),
    end("end-no-test", "a value at the exit port becomes the status", "no-such-test", 99,
        console=("^FAIL no test is called no-such-test",), may_fail=True),
    refused("refuse-absent", "no kernel at that path", ("no-such-file",), kernel="absent"),
    refused("refuse-text", "a text file as kernel", ("text",), kernel="text"),
    refused("refuse-truncated-elf", "an ELF image that ends inside its segment", ("truncated|cut short|beyond|past the end",),
            kernel="guest-truncated", status=REFUSED),
    refused("refuse-header-only", "an ELF header without anything behind it",
            ("truncated|cut short|beyond|past the end",), kernel="guest-header-only", status=REFUSED),
    refused("refuse-initrd", "a text file as initrd", ("text",), kernel="linux", initrd="text"),
    refused("refuse-truncated-linux", "half a bzImage", ("truncated|cut short|beyond|bzImage",),
            kernel="linux-truncated"),
    refused("refuse-memory", "an initrd that does not fit", ("memory",), kernel="linux", initrd="workload",
            memory="16M"),
]
