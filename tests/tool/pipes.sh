#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A vmmu trace is the same trace from a file, a pipe, a named pipe and standard input, packed or not.
#
#   tests/tool/pipes.sh VMMU SAMPLE
set -u
vmmu=$(realpath "$1")
sample=$(realpath "$2")
. "$(dirname "$(realpath "$0")")/lib.sh"

# What a command says, without names of files and what only a side file knows.
said() {
	timeout 60 "$vmmu" "$@" 2>/dev/null </dev/stdin | sed 's/, machine .*//; s/ by boot code at/ by rip/'
	echo "status ${PIPESTATUS[0]}"
}

same() {
	check "$1" cmp -s expected got
	cmp -s expected got || diff expected got | head -5
}

"$sample" sample
mv sample/*.trace t 2>/dev/null || mv sample t 2>/dev/null
[ -f t ] || { echo "FAILED: no sample"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }
gzip -k t
zstd -q -k t
while read -r command; do
	# shellcheck disable=SC2086 # words on purpose
	set -- $command
	said "$@" t </dev/null >expected
	said "$@" - <t >got
	same "$command: standard input is the file"
	cat t | said "$@" - >got
	same "$command: a pipe"
	cat t.gz | said "$@" - >got
	same "$command: a pipe with gzip"
	said "$@" t.gz </dev/null >got
	same "$command: a file with gzip"
	said "$@" t.zst </dev/null >got
	same "$command: a file with zstd"
	mkfifo p
	cat t >p &
	said "$@" p </dev/null >got
	wait
	rm p
	same "$command: a named pipe"
	(head -c 100 t; sleep 0.2; tail -c +101 t) | said "$@" - >got
	same "$command: a slow pipe"
done <<-'END'
	check
	check --json
	walk --gpa 1234000 --brief
	walk --gpa 1234000 --json
	trace
	trace --since 50us
	dump
	dump --json
	info
	faults
	zaps
	pages
	doctor
END

# Nothing that is no trace keeps it busy, or is read to its end.
for source in 'cat /dev/zero' 'yes no trace' true 'head -c 64 t' 'head -c 300 t.gz' 'echo VMMUTRC'; do
	eval "$source" 2>/dev/null | timeout 30 "$vmmu" check - >said 2>&1
	status=${PIPESTATUS[1]}
	check "$source: status $status" [ "$status" -eq 2 -o "$status" -eq 1 ]
	check "$source: no sanitizer speaks" [ "$(grep -c 'Sanitizer\|runtime error' said)" -eq 0 ]
done
finish
