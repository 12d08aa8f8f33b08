#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The questions on small recordings of real KVM: what is said is what golden/ holds.
#
#   tests/questions/questions.sh BUILD    (make check-questions)
#
# UPDATE=1 writes what the commands say now to tests/questions/golden/.

set -u
vmmu=$(realpath "$1")/tool-asan/vmmu
sample=$(realpath "$1")/tool-asan/sample
here=$(dirname "$(realpath "$0")")
data=$here/data
kvm=$here/../kvm/traces
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache TMPDIR=$work/tmp
mkdir "$TMPDIR"
cd "$work" || exit 1

passed=0
failed=0

fail() {
	failed=$((failed + 1))
	echo "FAILED: $1"
	[ ! -s "${2:-}" ] || sed 's/^/    /' "$2" | head -40
}

# says NAME STATUS ARGUMENT...: exactly what golden/NAME.txt holds
says() {
	local expected=$here/golden/$1.txt status=$2 got
	shift 2
	timeout 60 "$vmmu" "$@" >said 2>&1 </dev/null
	got=$?
	sed -e "s|$data/||g; s|$kvm/||g" said >output
	[ -z "${UPDATE:-}" ] || cp output "$expected"
	if [ $got -ne "$status" ]; then
		fail "status $got, not $status: vmmu $*" output
	elif ! diff -u "$expected" output >difference; then
		fail "vmmu $*" difference
	elif [ -n "$(ls "$TMPDIR")" ]; then
		fail "left behind $(ls "$TMPDIR"): vmmu $*"
		rm -rf "${TMPDIR:?}"/*
	else
		passed=$((passed + 1))
	fi
}

# expect STATUS PATTERN COMMAND...: its status, and a line of its output
expect() {
	local status=$1 pattern=$2 got
	shift 2
	timeout 60 "$@" >output 2>&1 </dev/null
	got=$?
	# shellcheck disable=SC2053 # a pattern on purpose: [01]
	if [[ $got != $status ]]; then
		fail "status $got, not $status: $*" output
	elif [ -n "$pattern" ] && ! grep -qE -- "$pattern" output; then
		fail "nothing like \"$pattern\" from: $*" output
	else
		passed=$((passed + 1))
	fi
}

# same NAME PATTERN FILE FILE ARGUMENT...: two recordings of one run lead to the same answer,
# as far as its lines fit the pattern
same() {
	local name=$1 pattern=$2 a=$3 b=$4
	shift 4
	timeout 60 "$vmmu" "$@" "$a" 2>&1 </dev/null | grep -E -- "$pattern" >first
	timeout 60 "$vmmu" "$@" "$b" 2>&1 </dev/null | grep -E -- "$pattern" >second
	if [ -s first ] && diff -u first second >difference; then
		passed=$((passed + 1))
	else
		fail "$name: $* differs between $a and $b" difference
	fi
}

. "$here/cases.sh"

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
