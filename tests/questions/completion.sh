#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What the completion offers, in bash; in zsh where it is there, that it is read.
#
#   tests/questions/completion.sh VMMU
set -u
vmmu=$(realpath "$1")
root=$(dirname "$(realpath "$0")")/../..
passed=0
failed=0
skipped=0

# offers WORD... EXPECTED: with these words on the line, EXPECTED is among what is offered
offers() {
	local expected=${!#}
	COMP_WORDS=("$vmmu" "${@:1:$#-1}")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_vmmu
	case " ${COMPREPLY[*]} " in
	*" $expected "*) passed=$((passed + 1)) ;;
	*)
		failed=$((failed + 1))
		echo "FAILED: ${COMP_WORDS[*]}: no $expected among ${COMPREPLY[*]}"
		;;
	esac
}

. "$root/tool/completion/vmmu.bash"
for command in run trace walk dump check info faults zaps pages mmio dirty doctor top diff report plot export record iso; do
	offers "${command:0:2}" "$command"
done
for command in info faults zaps pages mmio dirty doctor diff; do
	offers $command --js --json
	offers $command --si --since
	offers $command --ho --host-clock
done
for command in walk trace dump; do
	offers $command --si --since
	offers $command --js --json
done
offers walk --gp --gpa
offers export --form --format
offers export --format pe perfetto
offers plot --wh --what
offers plot --what fau faults
offers plot --format p png
offers plot --format = s svg
offers faults --by fu function
offers trace --le --level
offers run --intercept i invlpg
offers run --intercept '' cr3,invlpg
offers run --intercept = c cr3
offers run --intercept = cr3
offers run --mmu s shadow
offers run -m b bochs
offers run --page-size 4 4k
# each value that the completion knows is one that the command takes, and those it takes are all there
for option in intercept mmu page-size; do
	COMP_WORDS=("$vmmu" run "--$option" '')
	COMP_CWORD=3
	_vmmu
	for value in "${COMPREPLY[@]}"; do
		if "$vmmu" run --dry-run --machine qemu --kernel "$vmmu" "--$option=$value" 2>&1 | grep -q -e ", not \"$value\""; then
			failed=$((failed + 1))
			echo "FAILED: vmmu run does not take --$option=$value"
		else
			passed=$((passed + 1))
		fi
	done
done
for value in svg png gnuplot; do
	if "$vmmu" plot "--format=$value" 2>&1 | grep -q -e ", not \"$value\""; then
		failed=$((failed + 1))
		echo "FAILED: vmmu plot does not take --format=$value"
	else
		passed=$((passed + 1))
	fi
done
# phases are those of the trace on the line
marked=$(mktemp)
python3 -B - "$marked" "$root" <<-'END'
	import pathlib, sys
	sys.path.insert(0, sys.argv[2] + "/tests/tool")
	from hostile import Trace
	trace = Trace()
	for phase in (7, 12):
	    trace.add(19, words=(phase,))  # mark
	pathlib.Path(sys.argv[1]).write_bytes(trace.file())
END
offers trace "$marked" --phase '' 7
offers trace "$marked" --phase = 7
offers walk "$marked" --at-phase '' 12
offers trace "$marked" --phase 1 12
rm -f "$marked"
cd "$root" || exit 1
offers walk READ README.md
if command -v zsh >/dev/null; then
	if zsh -fn tool/completion/_vmmu; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
else
	skipped=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
