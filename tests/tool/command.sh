#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The command as its users meet it, with tests/tool/fake_qemu for an emulator:
# exit statuses, messages, and that nothing is left behind.
#
#   tests/tool/command.sh VMMU SAMPLE     (make check-tool)
#
# UPDATE=1 writes what the commands say now to tests/tool/sample/.

set -u
vmmu=$(realpath "$1")
sample=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work/tmp VMMU_QEMU=$here/fake_qemu VMMU_VISOR=$work/visor.elf
mkdir "$TMPDIR"
cd "$work" || exit 1
touch visor.elf

# A multiboot guest of nothing: header, no code.
printf '\x02\xb0\xad\x1b\x00\x00\x00\x00\xfe\x4f\x52\xe4' >kernel
truncate -s 4096 kernel
printf '070701' >initrd
printf 'zzzz' >bad-initrd

passed=0
failed=0

# expect STATUS PATTERN COMMAND...: its status, and a line of its output
expect() {
	local status=$1 pattern=$2 got
	shift 2
	timeout 30 "$@" >output 2>&1 </dev/null
	got=$?
	if [ $got -ne "$status" ]; then
		echo "FAILED: status $got, not $status: $*"
	elif [ -n "$pattern" ] && ! grep -qE -- "$pattern" output; then
		echo "FAILED: nothing like \"$pattern\" from: $*"
	elif [ -n "$(ls "$TMPDIR")" ]; then
		echo "FAILED: left behind $(ls "$TMPDIR"): $*"
		rm -rf "${TMPDIR:?}"/*
	else
		passed=$((passed + 1))
		return
	fi
	sed 's/^/    /' output
	failed=$((failed + 1))
}

# after SHOWN SIGNAL... -- COMMAND...: the command, which gets the signals once it has said what SHOWN says
cat >after <<'END'
shown=$1
shift
signals=
until [ "$1" = -- ]; do
	signals="$signals $1"
	shift
done
shift
"$@" >said 2>&1 &
p=$!
for i in $(seq 100); do
	! head -c 100000 said | grep -aq "$shown" || break
	sleep 0.1
done
for signal in $signals; do
	kill -"$signal" $p
	sleep 0.3
done
wait $p
status=$?
head -c 100000 said
tail -c 100000 said
exit $status
END
after() { expect "$1" "$2" sh after "${@:3}"; }
run() { expect "$1" "$2" "$vmmu" run --machine qemu "${@:3}"; }

# Help and usage
expect 0 '^  walk ' "$vmmu" --help
expect 0 '^vmmu [0-9]' "$vmmu" --version
expect 2 'no command "jump"' "$vmmu" jump
expect 2 '^Usage' "$vmmu"
for command in run trace walk dump check iso; do
	expect 0 "^Usage: vmmu $command" "$vmmu" help $command
	expect 0 "^Usage: vmmu $command" "$vmmu" $command -h
	expect 0 "^Usage: vmmu $command" "$vmmu" $command --help
	expect 0 '^vmmu [0-9]' "$vmmu" $command --version
done
expect 122 'which kernel' "$vmmu" run
expect 122 '"9k"' "$vmmu" run --kernel kernel --page-size 9k
expect 122 '"lots"' "$vmmu" run --kernel kernel --memory lots
expect 122 '"vax"' "$vmmu" run --kernel kernel --machine vax
expect 122 'unrecognized option' "$vmmu" run --kernel kernel --fast
expect 2 'which trace FILE' "$vmmu" trace
expect 2 'which address' "$vmmu" walk kernel
for command in walk trace dump; do
	expect 0 '  --since=TIME ' "$vmmu" help $command
	expect 2 '/no/trace: No such file' "$vmmu" $command --since 1 --last 3 $([ $command = walk ] && echo --gpa 0) /no/trace
done
expect 2 'no cause is called' "$vmmu" trace --cause whim kernel
expect 2 '1 to 5' "$vmmu" trace --level 9 kernel

# What cannot be booted
run 121 '/no/kernel: No such file' --kernel /no/kernel
run 121 'no Linux bzImage' --kernel bad-initrd
run 121 'no initrd that Linux can unpack' --kernel kernel --initrd bad-initrd
run 121 'No such file' --kernel kernel --initrd /no/initrd
run 121 'no EPT' --kernel kernel --mmu ept
run 121 'cannot be made' --kernel kernel --trace /no/folder/trace
run 121 'exists and is no trace' --kernel kernel --trace initrd
expect 121 'is no program' env VMMU_QEMU=/no/qemu "$vmmu" run --machine qemu --kernel kernel
expect 121 'package qemu-system-x86 ' env PATH=/no VMMU_QEMU= "$vmmu" run --machine qemu --kernel kernel
expect 121 'packages bochs, bochs-term' env PATH=/no VMMU_QEMU= "$vmmu" run --mmu ept --kernel kernel
expect 121 'grub-mkrescue is not installed' env PATH=/no VMMU_BOCHS=/bin/true "$vmmu" run --machine bochs --kernel kernel
expect 121 'GRUB cannot hand over' "$vmmu" run --machine bochs --kernel kernel --append "it's"
expect 121 'Bochs has at most 2 GiB' "$vmmu" run --machine bochs --kernel kernel --memory 3G
expect 2 'grub-mkrescue failed|no such|cannot' env VMMU_GRUB_MKRESCUE=/bin/false "$vmmu" iso --kernel kernel --output x.iso
# What a guest is booted from is not written over, by whatever name.
ln -s kernel other-name
# xorriso has its own reading of "=" in a path
if command -v grub-mkrescue xorriso mformat >/dev/null; then
	expect 0 'x.iso is ready' sh -c 'mkdir "$TMPDIR/a=b, c" && TMPDIR="$TMPDIR/a=b, c" "$0" iso --kernel kernel --output x.iso; s=$?
		rmdir "$TMPDIR/a=b, c" && rm -f x.iso; exit $s' "$vmmu"
fi
expect 2 'kernel is what the guest is booted from' "$vmmu" iso --kernel kernel --output kernel
expect 2 'initrd is what the guest is booted from' "$vmmu" iso --kernel kernel --initrd initrd --output initrd
expect 121 'other-name is what the guest is booted from' "$vmmu" run --machine qemu --kernel kernel --trace other-name
expect 121 'initrd is what the guest is booted from' "$vmmu" run --machine qemu --kernel kernel --initrd initrd --log ./initrd
expect 121 'initrd is what the guest is booted from' "$vmmu" run --machine qemu --kernel kernel --module initrd --log initrd
expect 0 '' test "$(head -c 4 kernel | od -An -tx1)" = ' 02 b0 ad 1b' -a "$(cat initrd)" = 070701
expect 121 'cannot be read' env VMMU_VISOR=/no/visor "$vmmu" run --machine qemu --kernel kernel

# The emulator runs in a folder of its own: a program by a relative path is found all the same.
mkdir bin && ln -s "$here/fake_qemu" bin/qemu-system-x86_64
FAKE= expect 0 'power-off' env VMMU_QEMU=bin/qemu-system-x86_64 "$vmmu" run --machine qemu --kernel kernel
FAKE= expect 0 'power-off' env VMMU_QEMU= PATH="bin:$PATH" "$vmmu" run --machine qemu --kernel kernel

# How guests end
run 0 'power-off.*exit status 0' --kernel kernel
run 0 'cr3-read 0.*cr3-write 0.*invlpg 0' --kernel kernel
run 0 '^guest: hello' --kernel kernel --quiet
FAKE=reboot run 101 'reboot' --kernel kernel
FAKE=triple-fault run 102 'triple-fault' --kernel kernel
FAKE=failed run 104 'visor: NPT' --kernel kernel
FAKE=refused run 105 'could not start the guest: no kernel module' --kernel kernel
FAKE=crash run 120 'the emulator says why' --kernel kernel
FAKE=hang run 124 'out of time' --kernel kernel --timeout 3
FAKE=hang run 124 'guest at +rip 0xffffffff81000010' --kernel kernel --timeout 3
FAKE=hang run 124 '^vmmu: killed, exit status 124' --kernel kernel --timeout 3
FAKE=deaf run 124 'no summary: the visor did not answer' --kernel kernel --timeout 3
FAKE=hang after 130 'ended by signal 2' hello INT -- "$vmmu" run --machine qemu --kernel kernel
FAKE=hang after 143 'ended by signal 15' hello TERM -- "$vmmu" run --machine qemu --kernel kernel
FAKE=hang expect 141 '^guest: hello' sh -c '{ "$0" run --machine qemu --kernel kernel 2>/dev/null; echo $? >status; } | head -n 1; exit $(cat status)' "$vmmu"
FAKE=hang expect 141 '^vmmu: killed, exit status 141' sh -c '{ { "$0" run --machine qemu --kernel kernel 2>&3; echo $? >status; } | head -n 1 >/dev/null; } 3>&1; exit $(cat status)' "$vmmu"
expect 0 '^guest: hello' sh -c '"$0" run --machine qemu --kernel kernel <&-' "$vmmu"

# Whatever the guest does, it can be ended. The report is no part of its time.
FAKE=slow-report run 0 'power-off.*exit status 0' --kernel kernel --timeout 3
FAKE=slow-report run 0 'the visor checks its tables' --kernel kernel --timeout 3
# What the guest had still to print comes first: no line of ours for each piece of it.
FAKE=flood-report expect 0 '^told 0$' sh -c '"$0" run --machine qemu --kernel kernel 2>messages >/dev/null; s=$?; echo told $(grep -c "checks its tables" messages); exit $s' "$vmmu"
FAKE=silent-report after 143 'the visor was not waited for' 'checks its tables' TERM -- "$vmmu" run --machine qemu --kernel kernel
for way in flood deaf-flood log-flood; do
	FAKE=$way run 124 'out of time' --kernel kernel --timeout 3
	FAKE=$way after 143 'ended by signal 15' hello TERM -- "$vmmu" run --machine qemu --kernel kernel
	FAKE=$way expect 0 '^all ended' "$here/terminal.py" "$vmmu" run --machine qemu --kernel kernel -q
done
# Nobody reads standard output, or any output at all.
FAKE=flood expect 124 'bytes of the guest.s console found no reader' sh -c '{ { "$0" run --machine qemu --kernel kernel --timeout 3 2>&3; echo $? >status; } | sleep 6; } 3>&1; exit $(cat status)' "$vmmu"
# A second signal is the last.
FAKE=deaf after 143 'did not answer' hello TERM INT -- "$vmmu" run --machine qemu --kernel kernel
FAKE=echo expect 7 'guest: got typed' sh -c 'echo typed | "$0" run --machine qemu --kernel kernel' "$vmmu"

# Files that cannot be written
expect 121 'standard output: No space left' sh -c 'exec "$0" run --machine qemu --kernel kernel >/dev/full' "$vmmu"
FAKE=hang expect 121 'standard output: No space left' sh -c 'exec "$0" run --machine qemu --kernel kernel >/dev/full' "$vmmu"
run 121 '/dev/full is not whole: No space left' --kernel kernel --log /dev/full
FAKE=log-flood run 124 '/dev/full is not whole' --kernel kernel --log /dev/full --timeout 3
run 121 '/dev/full' --kernel kernel --report /dev/full
run 121 'is no regular file' --kernel kernel --trace /dev/null

# Two runs on one trace: the second is refused and leaves it alone
FAKE=hang expect 143 'trace is being written by another vmmu' sh -c '
	: >first; "$0" run --machine qemu --kernel kernel --trace trace -q >first & p=$!; until grep -q hello first; do sleep 0.1; done; before=$(stat -c %s.%Y trace)
	"$0" run --machine qemu --kernel kernel --trace trace
	[ $? = 121 ] && [ $before = $(stat -c %s.%Y trace) ] || exit 1
	kill -TERM $p; wait $p' "$vmmu"
run 0 '' --kernel kernel --trace trace

# A killed run's folder goes at the next start; one that is kept, is used or is nobody's stays
FAKE=hang expect 0 'removed .*/vmmu-.*which a run that was killed has left' sh -c '
	: >first; "$0" run --machine qemu --kernel kernel >first 2>&1 & p=$!; until grep -q hello first; do sleep 0.1; done; kill -KILL $p; wait $p
	[ -n "$(ls "$TMPDIR")" ] || exit 1
	: >first; "$0" run --machine qemu --kernel kernel >first & p=$!; until grep -q hello first; do sleep 0.1; done
	"$0" run --machine qemu --kernel kernel --keep --timeout 3 >/dev/null 2>&1
	mkdir "$TMPDIR"/vmmu-others
	FAKE= "$0" run --machine qemu --kernel kernel
	[ $(ls "$TMPDIR" | wc -l) = 3 ] || exit 1
	kill -TERM $p; wait $p; rm -r "$TMPDIR"/*' "$vmmu"

# What the emulator is given
cp kernel 'a,b c'
export FAKE=arguments
run 0 '^kernel vmmu:kernel a_b_c,initrd vmmu:initrd initrd,module0 vmmu:module kernel x,,y' --kernel 'a,b c' --initrd initrd --module 'kernel=x,y'
run 0 '^memory=524288K mmu=npt page-size=4k trace=off prealloc=on test-device=on -- a=b "c d"' --kernel kernel \
	--memory 512M --page-size 4k --prealloc --test-device --append 'a=b "c d"'
run 0 'test-device=off intercept=cr3,invlpg -- ' --kernel kernel --intercept cr3,invlpg
run 122 'intercept takes cr3, invlpg or cr3,invlpg, not "cr0"' --kernel kernel --intercept cr0
run 0 'test-device=off run-ahead=off -- ' --kernel kernel --no-run-ahead
run 0 'test-device=off nested=on -- ' --kernel kernel --nested
run 122 'nested needs EPT or NPT' --kernel kernel --nested --mmu shadow
run 0 'test-device=off fault-around=64 -- ' --kernel kernel --fault-around 64
run 122 'fault-around is a number of pages.* not "48"' --kernel kernel --fault-around 48
run 122 'fault-around is a number of pages.* not "128"' --kernel kernel --fault-around 128
run 122 'fault-around is for EPT and NPT' --kernel kernel --fault-around 8 --mmu shadow
run 0 'if=ide,index=1,werror=report' --kernel kernel --trace t,race
run 0 '^on,.*spawn=deny' --kernel kernel
run 0 'file=.*/t,,race,format=raw,if=ide' --kernel kernel --trace t,race
run 0 'shift=0,sleep=off' --kernel kernel --icount
unset FAKE

# Traces
expect 0 'holds|trace ' "$vmmu" run --machine qemu --kernel kernel --trace trace --report report
expect 0 '"status": "power-off"' cat report
expect 0 '"phases": .*"number": 1.*"number": 2' sh -c 'tr -d "\n" <report'
expect 0 '"machine": "qemu"' cat trace.json
expect 0 '^512$' stat -c %s trace
expect 1 'was not closed' "$vmmu" check trace
expect 2 'does not name a VM' "$vmmu" walk --gpa 0 trace
expect 2 'not a vmmu trace' "$vmmu" dump kernel
head -c 600 /dev/zero >zeros
expect 2 'not a vmmu trace' "$vmmu" trace zeros
head -c 100 trace >short
expect 2 'has 100 bytes' "$vmmu" trace short
{ head -c 8 trace; printf '\x04'; tail -c +10 trace; } >newer
expect 2 'version 4, this vmmu reads versions 1 to 3' "$vmmu" trace newer

expect 1 'standard output: No space' sh -c 'exec "$0" check trace >/dev/full' "$vmmu"

# A trace whose every record is known, and what is to be said about it
"$sample" sample
"$sample" shadow shadow
"$sample" future future
"$sample" marked marked
"$sample" nested nested
cat >sample.map <<'END'
ffffffff81000000 T _text
ffffffff81000000 T startup_64
ffffffff81000100 T copy_user
ffffffff81000200 T _etext
END

# says NAME ARGUMENT...: exactly what tests/tool/sample/NAME.txt holds
says() {
	local expected=$here/sample/$1.txt
	shift
	timeout 30 "$vmmu" "$@" >output 2>&1 </dev/null
	[ -z "${UPDATE:-}" ] || cp output "$expected"
	if diff -u "$expected" output >difference; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: vmmu $*"
		sed 's/^/    /' difference
	fi
}

says trace trace --symbols sample.map sample
says trace-all trace --all --symbols sample.map sample
says trace-gpa trace --gpa 0x1235000 --level 1 --symbols sample.map sample
says trace-gpa-all trace --gpa 0x1400000-0x15fffff --all --symbols sample.map sample
says trace-gpa-mmio trace --gpa 0x1236000 --all --symbols sample.map sample
says trace-cause trace --cause zap-slot --cause permission --symbols sample.map sample
says trace-fault trace --fault 2-3 --symbols sample.map sample
says trace-phase trace --phase 8 --all --symbols sample.map marked
says trace-phase-json trace --phase 8 --all --json --symbols sample.map marked
expect 0 'fault 1 .*$' "$vmmu" trace --phase 7 --symbols sample.map marked
expect 2 'no phase 9 ends in marked' "$vmmu" trace --phase 9 marked
says walk-at-phase walk --gpa 0x1235000 --at-phase 7 --brief --symbols sample.map marked
expect 2 'no phase 9 ends in the trace' "$vmmu" walk --gpa 0 --at-phase 9 marked
expect 2 'one moment at a time' "$vmmu" dump --at-phase 7 --at-fault 1 marked
expect 2 'takes a phase.s number' "$vmmu" trace --phase first marked
expect 2 'exclude each other' "$vmmu" trace --phase 8 --follow marked
expect 0 'explains its tables' "$vmmu" check marked
says trace-limit trace --limit 2 --symbols sample.map sample
says trace-json trace --json --symbols sample.map sample
says trace-future trace --all --fault 6 --symbols sample.map future
says walk-future walk --gpa 0x1234000 --symbols sample.map future
expect 0 'passing over 1 record of events' "$vmmu" trace --symbols sample.map future
expect 0 'cause-222' "$vmmu" trace --json --symbols sample.map future
says check-future check future
says trace-json-all trace --json --all --symbols sample.map sample
says trace-colour trace --color=always --limit 1 --symbols sample.map sample
says walk walk --gpa 0x1235678 --symbols sample.map sample
says walk walk --gpa 1235678 --symbols sample.map sample
says walk walk --gpa 0X0001235678 --symbols sample.map sample
says trace-gpa trace --gpa 1235000 --level 1 --symbols sample.map sample
says walk-large walk --gpa 0x1456789 --symbols sample.map sample
says walk-at-fault walk --gpa 0x1456789 --at-fault 4 --brief --symbols sample.map sample
says walk-at-time walk --gpa 0x1235000 --at 150us --symbols sample.map sample
says walk-at-record walk --gpa 0x1235000 --at-record 14 --brief --symbols sample.map sample
says walk-at-the-time walk --gpa 0x1235000 --at 160us --brief --symbols sample.map sample
says walk-shadow walk --gva 0xffffffff80001234 --root 0x1000 --symbols sample.map shadow
says walk-shadow-parked walk --gva 0xffffffff80001234 --at-fault 2 --brief --symbols sample.map shadow
says walk-shadow-pae walk --gva 0xc0000000 --symbols sample.map shadow
says walk-l2 walk --l2 0x1234 --symbols sample.map nested
says walk-l2-before walk --l2 1000 --at-fault 1 --brief --symbols sample.map nested
says walk-l2-prefetched walk --l2 2000 --symbols sample.map nested
says walk-l2-nothing walk --l2 3000 --brief --symbols sample.map nested
says walk-l2-unknown walk --l2 40000000 --brief --symbols sample.map nested
says walk-l2-json walk --l2 0x1234 --json --symbols sample.map nested
says trace-nested trace --all --symbols sample.map nested
expect 0 '"l1_gpa": "0x779234"' "$vmmu" walk --json --brief --l2=1234 nested
expect 0 'not mapped' "$vmmu" walk --gpa 0x1000 nested
expect 2 'no guest of this trace runs guests' "$vmmu" walk --l2 0 --symbols sample.map sample
expect 2 'none of a nested map' "$vmmu" walk --l2 0 --root 0x1000 nested
expect 2 'no tables for L2 had been loaded' "$vmmu" walk --l2 0 --at-record 2 nested
expect 2 'takes an address in hex' "$vmmu" walk --l2 here nested
expect 2 'beyond what 4 levels' "$vmmu" walk --l2 1000000000000 nested
expect 1 'there is no dump' "$vmmu" check nested
expect 2 'no table at 0x7000' "$vmmu" walk --gva 0 --root 0x7000 --symbols sample.map shadow
expect 2 'guest-virtual addresses: give --gva' "$vmmu" walk --gpa 0 --symbols sample.map shadow
expect 2 'beyond what 4 levels' "$vmmu" walk --gva 0x1000000000000 --symbols sample.map shadow
says walk-before walk --gpa 0x1235000 --at-record 1 --brief --symbols sample.map sample
cp sample open
printf '\0' | dd of=open bs=1 seek=48 conv=notrunc 2>/dev/null
echo '{"exit_status": 124}' >open.json
says follow trace --follow --limit 100 --symbols sample.map open
says dump dump sample
says dump-raw dump --raw --at-fault 4 sample
says dump-gpa dump --gpa 1235000-1235fff sample
expect 0 'pages: 0 of 1 GiB, 0 of 2 MiB, 0 of 4 KiB' "$vmmu" dump -g 1236000-1ffffff sample
expect 2 'guest-physical addresses: give --gpa' "$vmmu" dump --gva 0 sample
expect 2 'guest-virtual addresses: give --gva' "$vmmu" dump --gpa 0 shadow
expect 2 'one --gpa or --gva at a time' "$vmmu" dump --gpa 0 --gpa 1000 sample
expect 2 'address or a range' "$vmmu" dump --gpa 12g sample
says check check sample
expect 2 'no record 999' "$vmmu" walk --gpa 0 --at-record 999 --symbols sample.map sample
expect 2 'no end of a fault 999' "$vmmu" walk --gpa 0 --at-fault 999 --symbols sample.map sample
expect 2 'the trace ends at 0.000' "$vmmu" walk --gpa 0 --at 9999 --symbols sample.map sample
expect 2 'one moment at a time' "$vmmu" walk --gpa 0 --at 100us --at-record 3 --symbols sample.map sample
expect 2 'one moment at a time' "$vmmu" dump --at-record 2 --at-record 3 sample
expect 2 'one --gpa at a time' "$vmmu" trace --gpa 0x1000 --gpa 0x2000 sample
expect 2 'one --level at a time' "$vmmu" trace --level 1 --level 2 sample
expect 2 'one --fault at a time' "$vmmu" trace --fault 1 --fault 2 sample
expect 2 'address in hex' "$vmmu" walk --gpa 12g sample
expect 2 'beyond what 4 levels' "$vmmu" walk --gpa 0x1000000000000 --symbols sample.map sample
expect 2 'guest-physical addresses: give --gpa' "$vmmu" walk --gva 0 --symbols sample.map sample
expect 2 'one address at a time' "$vmmu" walk --gva 0 --gpa 0 sample
expect 2 'no VM 9' "$vmmu" walk --gpa 0 --vm 9 --symbols sample.map sample
expect 2 'cannot be read|No such file' "$vmmu" trace --symbols /no/map sample
head -c 1500 sample >torn
expect 0 'should hold 33 records but is cut short; showing the 15' "$vmmu" trace --symbols sample.map torn
expect 1 '15 records of 33 are there' "$vmmu" check torn

# The guest that asks a VM what its CPU offers, on CPUs that are known.
probe=$(dirname "$sample")/../tool/machine/probe/probe.elf
probe() {
	expect "$1" '' qemu-system-x86_64 -accel tcg -cpu "$2" -m 16 -nodefaults -no-user-config -no-reboot \
		-display none -device isa-debug-exit,iobase=0xf4,iosize=0x04 -kernel "$probe"
}
skipped=0
if [ -f "$probe" ] && command -v qemu-system-x86_64 >/dev/null; then
	probe 35 EPYC,+svm,+npt    # 11h: SVM with NPT
	probe 33 EPYC,+svm,-npt    # 10h: nothing that will do
	probe 33 EPYC,-svm
	probe 33 qemu64,-svm
else
	skipped=4
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
