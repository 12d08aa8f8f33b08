# SPDX-License-Identifier: BSD-2-Clause
# For tests of the command by a shell: a folder of their own, and what held in it.
# To be sourced with the paths that the test was given made absolute.

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work/tmp XDG_CACHE_HOME=$work/cache
mkdir "$TMPDIR"
cd "$work" || exit 1
passed=0
failed=0

# check WHAT COMMAND...: the command succeeds
check() {
	local what=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $what"
	fi
}

finish() {
	check 'nothing is left behind' [ -z "$(ls tmp)" ]
	echo "$passed passed, $failed failed, 0 skipped"
	[ $failed -eq 0 ]
	exit
}
