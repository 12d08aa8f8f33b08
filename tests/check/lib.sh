# SPDX-License-Identifier: BSD-2-Clause
# For the checks in this folder: count what held and what did not.

set -u
cd "$(dirname "$0")/../.." || exit 2
passed=0
failed=0

# ok DESCRIPTION; bad DESCRIPTION [DETAILS]
ok() {
	passed=$((passed + 1))
	echo "ok    $1"
}

bad() {
	failed=$((failed + 1))
	echo "FAIL  $1"
	[ -n "${2:-}" ] && printf '%s\n' "$2" | sed 's/^/      /'
}

# expect_none DESCRIPTION FOUND: holds when FOUND is empty.
expect_none() {
	if [ -z "$2" ]; then ok "$1"; else bad "$1" "$2"; fi
}

finish() {
	echo "$passed passed, $failed failed, 0 skipped"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
	exit
}
