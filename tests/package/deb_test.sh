#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The package of the command alone: what is in it, and that it runs where it is unpacked.
#
#   deb_test.sh BUILD VERSION
set -u
build=$1 version=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

check() {
	what=$1
	shift
	if "$@" >"$work/said" 2>&1; then passed=$((passed + 1)); else
		failed=$((failed + 1)); echo "FAIL  $what"; sed 's/^/      /' "$work/said" | tail -20; fi
}
lists() { grep -qx "$1" "$work/list"; }
lists_no() { ! grep -E "$1" "$work/list"; }
field() { [ "$(dpkg-deb -f "$deb" "$1")" = "$2" ]; }
depends() { dpkg-deb -f "$deb" Depends | grep -E "$1"; }
runs() { "$work/root/usr/bin/vmmu" --version | grep -qx "vmmu $version"; }
# A trace that is none is refused by the command itself, with all its libraries loaded.
refuses() { "$work/root/usr/bin/vmmu" check /bin/sh; [ $? = 2 ]; }
man_reads() { gzip -dc "$work/root/usr/share/man/man1/vmmu-record.1.gz" | grep -q '^\.SH SYNOPSIS'; }
sums() { (cd "$work/root" && dpkg-deb -I "$deb" md5sums | md5sum -c --quiet); }
installs() { dpkg --force-not-root --force-depends --root="$work/system" --log="$work/log" -i "$deb"; }
removes() { dpkg --force-not-root --root="$work/system" --log="$work/log" -r vmmu && [ ! -e "$work/system/usr/bin/vmmu" ]; }

deb=$(cd "$build" && pwd)/vmmu_${version}_$(dpkg --print-architecture).deb
check "there is a package" test -s "$deb"
dpkg-deb -c "$deb" | sed 's|.* \./|/|; s| -> .*||' >"$work/list"
for file in /usr/bin/vmmu /usr/share/man/man1/vmmu.1.gz /usr/share/man/man1/vmmu-record.1.gz \
	/usr/share/doc/vmmu/copyright /usr/share/doc/vmmu/changelog.gz; do
	check "$file is in it" lists "$file"
done
check "no visor, header or library is in it" lists_no 'visor\.elf|\.h$|\.a$|\.pc$'
check "its version" field Version "$version"
check "it depends on the tracing libraries" depends 'libtracefs1.*'
check "gnuplot, which vmmu plot draws with, is recommended" field Recommends gnuplot-nox
check "no emulator is needed" sh -c "! dpkg-deb -f '$deb' Depends | grep -E 'qemu|bochs|grub'"
dpkg-deb -x "$deb" "$work/root"
check "checksums" sums
check "the command runs" runs
check "the command refuses what is no trace" refuses
check "the man page reads" man_reads
mkdir -p "$work/system/var/lib/dpkg/info" "$work/system/var/lib/dpkg/updates"
: >"$work/system/var/lib/dpkg/status"
check "dpkg installs it into a root of its own" installs
check "the installed file is there" test -x "$work/system/usr/bin/vmmu"
check "dpkg removes it" removes
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
