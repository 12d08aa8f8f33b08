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
for command in run trace walk dump check info faults zaps pages mmio dirty doctor top diff report record iso; do
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
offers faults --by fu function
offers trace --le --level
cd "$root" || exit 1
offers walk READ README.md
if command -v zsh >/dev/null; then
	if zsh -fn tool/completion/_vmmu; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
else
	skipped=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
