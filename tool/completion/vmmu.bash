# SPDX-License-Identifier: BSD-2-Clause
# Completion of vmmu for bash. Commands and options are asked of vmmu itself.

# The phases that the guest of the first trace on the line has marked; nothing if it takes long.
_vmmu_phases() {
	local word
	for word in "${COMP_WORDS[@]:2}"; do
		[ -f "$word" ] || continue
		timeout 2 "${COMP_WORDS[0]}" trace --all "$word" 2>/dev/null | sed -n 's/.*  mark  phase \([0-9]*\) ends$/\1/p'
		return
	done
}

_vmmu() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words
	COMPREPLY=()
	# bash takes --option=VALUE for three words
	if [ "$current" = = ]; then
		current=
	elif [ "$previous" = = ]; then
		previous=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	if [ "$COMP_CWORD" -eq 1 ]; then
		words=$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -n 's/^  \([a-z]*\) .*/\1/p')
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
		return
	fi
	case $previous in
	--by) words='gpa function vcpu cause page' ;;
	--color | --colour) words='auto always never' ;;
	--format)
		words='ctf perfetto json csv'
		[ "${COMP_WORDS[1]}" != plot ] || words='svg png gnuplot'
		;;
	--what) words='pages tables faults writes exits pages,tables,faults,writes,exits' ;;
	--level) words='4k 2m 1g 512g 256t' ;;
	--intercept) words='cr3 invlpg cr3,invlpg' ;;
	--mmu) words='ept npt shadow' ;;
	--machine | -m) words='auto bochs qemu kvm' ;;
	--page-size) words='4k 2m 1g' ;;
	--fault-around) words='1 2 4 8 16 32 64' ;;
	--phase | --at-phase) words=$(_vmmu_phases) ;;
	*)
		case $current in
		-*) words=$("${COMP_WORDS[0]}" "${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u) ;;
		*)
			mapfile -t COMPREPLY < <(compgen -f -- "$current")
			compopt -o filenames 2>/dev/null
			return
			;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _vmmu vmmu
