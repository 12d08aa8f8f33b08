#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The command as its users meet it, with tests/tool/fake_qemu for an emulator:
# exit statuses, messages, and that nothing is left behind.
#
#   tests/tool/command.sh VMMU

set -u
vmmu=$(realpath "$1")
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
	elif ! grep -qE -- "$pattern" output; then
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

run() { expect "$1" "$2" "$vmmu" run --machine qemu "${@:3}"; }

# Help and usage
expect 0 '^  walk ' "$vmmu" --help
expect 0 '^vmmu [0-9]' "$vmmu" --version
expect 2 'no command "jump"' "$vmmu" jump
expect 2 '^Usage' "$vmmu"
for command in run trace walk dump check iso; do
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
expect 2 'no cause is called' "$vmmu" trace --cause whim kernel
expect 2 '1 to 5' "$vmmu" trace --level 9 kernel

# What cannot be booted
run 121 '/no/kernel: No such file' --kernel /no/kernel
run 121 'no Linux bzImage' --kernel bad-initrd
run 121 'no initrd that Linux can unpack' --kernel kernel --initrd bad-initrd
run 121 'No such file' --kernel kernel --initrd /no/initrd
run 121 'no EPT' --kernel kernel --mmu ept
run 121 'cannot be made' --kernel kernel --trace /no/folder/trace
expect 121 'is no program' env VMMU_QEMU=/no/qemu "$vmmu" run --machine qemu --kernel kernel
expect 121 'cannot be read' env VMMU_VISOR=/no/visor "$vmmu" run --machine qemu --kernel kernel

# How guests end
run 0 'power-off.*exit status 0' --kernel kernel
run 0 'cr3-access 0.*invlpg 0' --kernel kernel
run 0 '^guest: hello' --kernel kernel --quiet
FAKE=reboot run 101 'reboot' --kernel kernel
FAKE=triple-fault run 102 'triple-fault' --kernel kernel
FAKE=failed run 104 'visor: NPT' --kernel kernel
FAKE=refused run 105 'could not start the guest: no kernel module' --kernel kernel
FAKE=crash run 120 'the emulator says why' --kernel kernel
FAKE=hang run 124 'out of time' --kernel kernel --timeout 1
FAKE=hang expect 130 'ended by the user' sh -c '"$0" run --machine qemu --kernel kernel & p=$!; sleep 1; kill -INT $p; wait $p' "$vmmu"
FAKE=hang expect 143 'ended by the user' sh -c '"$0" run --machine qemu --kernel kernel & p=$!; sleep 1; kill -TERM $p; wait $p' "$vmmu"
FAKE=echo expect 7 'guest: got typed' sh -c 'echo typed | "$0" run --machine qemu --kernel kernel' "$vmmu"

# What the emulator is given
cp kernel 'a,b c'
export FAKE=arguments
run 0 '^kernel vmmu:kernel,initrd vmmu:initrd,module0 vmmu:module x,,y' --kernel 'a,b c' --initrd initrd --module 'kernel=x,y'
run 0 '^memory=524288K mmu=npt page-size=4k trace=off prealloc=on test-device=on -- a=b "c d"' --kernel kernel \
	--memory 512M --page-size 4k --prealloc --test-device --append 'a=b "c d"'
run 0 'file=.*/t,,race,format=raw,if=ide' --kernel kernel --trace t,race
run 0 'shift=0,sleep=off' --kernel kernel --icount
unset FAKE

# Traces
expect 0 'holds|trace ' "$vmmu" run --machine qemu --kernel kernel --trace trace --report report
expect 0 '"status": "power-off"' cat report
expect 0 '"machine": "qemu"' cat trace.json
expect 0 '^512$' stat -c %s trace
expect 1 'was not closed' "$vmmu" check trace
expect 2 'does not name a VM' "$vmmu" walk --gpa 0 trace
expect 2 'not a vmmu trace' "$vmmu" dump kernel
head -c 600 /dev/zero >zeros
expect 2 'not a vmmu trace' "$vmmu" trace zeros
head -c 100 trace >short
expect 2 'has 100 bytes' "$vmmu" trace short
{ head -c 8 trace; printf '\x02'; tail -c +10 trace; } >newer
expect 2 'version 2, this vmmu reads version 1' "$vmmu" trace newer

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
