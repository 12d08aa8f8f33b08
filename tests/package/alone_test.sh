#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The command alone is built, packed and installed where there is no emulator, no kernel
# to boot, no Zydis and nothing else that only the visor and the tests need.
#
#   alone_test.sh    (in a tree with its history)
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

check() {
	local what=$1
	shift
	if "$@" >"$work/said" 2>&1; then passed=$((passed + 1)); else
		failed=$((failed + 1)); echo "FAIL  $what"; sed 's/^/      /' "$work/said" | tail -20; fi
}
no() { ! "$@"; }

# Programs that `scripts/setup tool` does not install are not to be found.
mkdir "$work/tree" "$work/bin"
for program in /usr/bin/* /usr/sbin/ldconfig; do
	case ${program##*/} in
	*qemu*|bochs*|bximage*|grub*|xorriso|clang*|node*|npm*|trace-cmd|perf|nasm|mtools|mformat) ;;
	*) ln -s "$program" "$work/bin" ;;
	esac
done
git ls-files -z | tar -c --null -T - | tar -x -C "$work/tree"
cd "$work/tree" || exit 1
export PATH=$work/bin MAKEFLAGS=''
check "no emulator is to be found" no command -v qemu-system-x86_64 bochs grub-mkrescue
check "make deb" make deb BUILD=build
check "there is a package" test -s build/vmmu_*.deb
check "make install-tool" make install-tool DESTDIR="$work/to" PREFIX=/usr
check "the command runs" "$work/to/usr/bin/vmmu" --version
check "it answers" "$work/to/usr/bin/vmmu" check tests/kvm/traces/npt-map.dat.gz
check "documents link to what is there" test -s "$work/to/usr/share/doc/vmmu/kvm-cases.md" -a \
	-s "$work/to/usr/share/doc/vmmu/doctor.md"
check "nothing was fetched" test ! -e .cache
check "no visor was built" test ! -e build/visor.elf
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
