#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Files that were made to cost their reader far more than their size (hostile.py):
# every question about them is answered within some seconds and a few times the
# file's size of memory, where a reader that searches or follows all paths takes
# minutes to years.
#
#   tests/tool/hostile.sh VMMU     (make check-tool; not with sanitizers, which take memory of their own)

set -u
vmmu=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work
cd "$work" || exit 1
passed=0
failed=0

# within SECONDS KB STATUS PATTERN COMMAND...: processor time, address space; its status and a line of its output
within() {
	local seconds=$1 memory=$2 status=$3 pattern=$4 got
	shift 4
	(ulimit -t "$seconds" -v "$memory" && exec timeout 120 "$@") >output 2>&1 </dev/null
	got=$?
	if [ $got -ne "$status" ]; then
		echo "FAILED: status $got, not $status: $*"
	elif ! grep -qE -- "$pattern" output; then
		echo "FAILED: nothing like \"$pattern\" from: $*"
	else
		passed=$((passed + 1))
		return
	fi
	head -n 20 output | cut -c 1-200 | sed 's/^/    /'
	failed=$((failed + 1))
}

# ask KIND N: all commands on the trace of that kind
ask() {
	local memory
	"$here/hostile.py" "$1" trace "$2"
	# What an empty program maps, and eight times the file.
	memory=$((60000 + 8 * $(stat -c %s trace) / 1024))
	within 10 $memory 1 '^DIFFERENT' "$vmmu" check trace
	within 10 $memory "$3" "$4" "$vmmu" dump trace
	within 10 $memory 0 '^Guest-physical' "$vmmu" walk --gpa 0 trace
	within 10 $memory 0 '' "$vmmu" trace --all trace
}

ask shared 0 0 'tables: 1 at level 5, 1 at level 4, 1 at level 3, 1 at level 2, 1 at level 1'
ask streams 200000 2 'no root had been loaded'
ask vms 200000 2 'no root had been loaded'
ask tables 200000 2 'no root had been loaded'
ask far_tables 200000 2 'no root had been loaded'
ask early 200000 2 'no root had been loaded'
ask early_alike 200000 2 'no root had been loaded'
ask one_entry 200000 0 'tables: 1 at level 4'
ask dumps 100000 0 'tables: 1 at level 4'

# A kernel that is nothing but beginnings of symbol tables; with a good one it takes a blink
"$here/hostile.py" one_entry trace 1
for words in 3000 1500000; do
	"$here/hostile.py" kernel kernel $words
	within 10 200000 2 'no symbols in kernel' "$vmmu" trace --kernel kernel trace
done
head -c 300000000 /dev/zero | gzip -1 >zeros.gz
{ head -c 2560 kernel; cat zeros.gz; } >bomb
printf "\\x$(printf %02x $(($(stat -c %s zeros.gz) & 255)))\\x$(printf %02x $(($(stat -c %s zeros.gz) >> 8 & 255)))\\x$(printf %02x $(($(stat -c %s zeros.gz) >> 16)))" |
	dd of=bomb bs=1 seek=$((0x24c)) conv=notrunc 2>/dev/null
within 10 400000 2 'unpacks to far more|damaged or cut short' "$vmmu" trace --kernel bomb trace

# What a side file names is read only if it is a file, and never waited for
mkfifo fifo
for named in /dev/zero fifo . /dev/tty; do
	echo "{\"kernel\": \"$named\"}" >trace.json
	within 5 100000 0 'regular file|is a directory|No such device' "$vmmu" trace trace
done
rm trace.json
for side in "ln -s /dev/zero" "ln -s fifo" "ln -s /dev/tty"; do
	$side trace.json
	within 5 100000 0 'no kernel is known' "$vmmu" trace trace
	rm trace.json
done
truncate -s 1T trace.json
within 5 100000 0 'no kernel is known' "$vmmu" trace trace
rm trace.json
within 10 200000 2 'too large to be' "$vmmu" trace --symbols /dev/zero trace

# No memory is no difference
"$here/hostile.py" tables trace 400000
within 10 20000 2 'cannot be mapped: Cannot allocate memory' "$vmmu" check trace
within 10 60000 2 'out of memory' "$vmmu" check trace

# Nothing in a file speaks to the terminal
"$here/hostile.py" escape trace
printf '{"kernel": "/\\u001b[31mred\\u009bx"}' >trace.json
printf 'ffffffff81000000 T \033]0;PWNED\007\n%s\n' "$(seq -f 'ffffffff8100%04.0f T function' 1 20)" >map
for command in "walk --gpa 0" "trace" "dump" "trace --json"; do
	within 5 200000 0 '' "$vmmu" $command trace
	within 5 200000 1 '^' grep -cP '[\x00-\x08\x0b-\x1f\x7f-\x9f]' output
done
within 5 200000 0 'machine .x1b]0;PWNED' "$vmmu" walk --gpa 0 --symbols map trace

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
