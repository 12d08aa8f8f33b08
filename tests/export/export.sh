#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What vmmu export writes is read by babeltrace2, by a JSON schema and by Python's csv, and all three say
# the same of each event. Then what may go wrong: losses, hostile names, full disks, signals.
#
#   tests/export/export.sh BUILD    (make check-export)
set -u
build=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
vmmu=$build/tool-asan/vmmu
. "$here/../tool/lib.sh"
data=$here/../questions/data
kvm=$here/../kvm/traces
doctor=$here/../doctor/traces

export_as() { # FORMAT FILE OUT [OPTION...]
	local format=$1 file=$2 out=$3
	shift 3
	timeout 120 "$vmmu" export --no-index --format "$format" -o "$out" "$@" "$file" 2>said </dev/null
}

# agree WHAT FILE [OPTION...]: the three formats of a trace say the same
agree() {
	local what=$1 file=$2
	shift 2
	rm -rf t.ctf t.json t.csv
	check "$what: ctf" export_as ctf "$file" t.ctf "$@"
	check "$what: perfetto" export_as perfetto "$file" t.json "$@"
	check "$what: csv" export_as csv "$file" t.csv "$@"
	check "$what: babeltrace2 reads what the CSV says" "$here/ctf.py" t.ctf t.csv
	check "$what: trace events hold, and say what the CSV says" "$here/perfetto.py" t.json t.csv
}

says() { grep -qE -- "$1" said; }
fails() { # PATTERN COMMAND...: with status 2 and a line like this
	local pattern=$1 status
	shift
	timeout 60 "$@" >out 2>said </dev/null
	status=$?
	[ $status -eq 2 ] && says "$pattern" || { echo "    status $status:"; head -3 said; false; }
}
left() { ls -d "$1"* 2>/dev/null; }

# ---- every source -----------------------------------------------------------------------------

zstd -qdc "$data/few.txt.zst" >few.txt
head -n 4000 few.txt >part.txt
agree 'text of tracefs' few.txt
agree 'trace.dat' "$data/npt-split-v7.dat"
agree 'perf.data' "$data/perf.data.zst"
agree 'perf script' "$data/perf.script.gz"
agree 'trace-cmd report' "$data/tc.report.gz"
agree 'shadow paging under KVM' "$data/shadow.txt.zst"
agree 'two VMs' "$kvm/npt-two.dat.gz"
agree 'a snapshot at the beginning' "$kvm/ept-found.dat.gz"
agree 'stacks' "$kvm/npt-stacks.dat.gz"
agree 'a nested guest' "$kvm/npt-nested.dat.gz"
agree 'devices' "$doctor/device-storm-ill.dat.gz"
agree 'zaps of all' "$doctor/zap-all-storm-ill.dat.gz"
"$build/tool-asan/sample" sample.trace
agree 'vmmu trace' sample.trace
"$build/tool-asan/sample" shadow.trace shadow
agree 'vmmu trace with shadow paging' shadow.trace

# Against the text itself, which a regular expression reads.
check 'csv with the host clock' export_as csv few.txt host.csv --host-clock
check 'the CSV holds what the text says' "$here/text.py" few.txt host.csv
first=$(sed -nE 's/.* ([0-9]+)\.([0-9]{6}): kvm_.*/\1\2000/p' few.txt | head -1)
rm -rf t.ctf
export_as ctf few.txt t.ctf
export_as csv few.txt t.csv
check "the clock's offset is the recording's" "$here/ctf.py" t.ctf t.csv "$first"
babeltrace2 t.ctf >listed 2>babble
check 'babeltrace2 lists all events' [ "$(wc -l <listed)" -eq $(($(wc -l <t.csv) - 1)) ]
check 'babeltrace2 has no complaint' [ ! -s babble ]
check 'entries have names and numbers' grep -qE 'write: .*level = 1, .*old_kind = \( "empty".*new_kind = \( "leaf"' listed

# ---- what is asked for --------------------------------------------------------------------------

agree 'since and until' few.txt --since 20ms --until 60ms
check 'only these' [ "$(sed 1d t.csv | awk -F, '$2 < 0.02 || $2 > 0.060001' | wc -l)" -eq 0 ]
agree 'the last ones' few.txt --last 7
check 'seven of them' [ "$(wc -l <t.csv)" -eq 8 ]
export_as csv few.txt whole.csv
check 'they are the last' [ "$(tail -1 t.csv)" = "$(tail -1 whole.csv)" ]
agree 'one VM' "$kvm/npt-two.dat.gz" --vm 2
check 'no other VM' [ "$(sed 1d t.csv | cut -d, -f4 | sort -u)" = 2 ]
agree 'one vCPU' "$data/npt-split-v7.dat" --vcpu 0
export_as csv few.txt t.csv --host-clock
export_as perfetto few.txt t.json --host-clock
check 'the host clock' "$here/perfetto.py" t.json t.csv
check '... is the same in CTF always' export_as ctf few.txt h.ctf --host-clock
rm -rf t.ctf
export_as ctf few.txt t.ctf
check '... as it stands in the clock' cmp -s <(babeltrace2 h.ctf) <(babeltrace2 t.ctf)
export_as csv few.txt t.csv --last 0
check 'none: a header' [ "$(wc -l <t.csv)" -eq 1 ]
export_as perfetto few.txt t.json --last 0
check 'none: still JSON' python3 -c 'import json; json.load(open("t.json"))'
rm -rf t.ctf
check 'none: still CTF' export_as ctf few.txt t.ctf --last 0
check 'none: babeltrace2 opens it' [ "$(babeltrace2 t.ctf 2>&1 | wc -l)" -eq 0 ]

# ---- pipes, and where it goes ---------------------------------------------------------------------

"$vmmu" export -f csv - <few.txt 2>/dev/null | cmp -s - whole.csv
check 'from standard input to a pipe' [ "${PIPESTATUS[1]}" -eq 0 ]
gzip -c few.txt >few.gz
"$vmmu" export --no-index -f csv few.gz -o - | cmp -s - whole.csv
check 'packed, to standard output' [ "${PIPESTATUS[1]}" -eq 0 ]
"$vmmu" export --no-index few.txt -o by-name.csv && cmp -s by-name.csv whole.csv
check 'the ending names the format' [ $? -eq 0 ]
cp few.txt beside.txt
(cd . && "$vmmu" export --no-index -f ctf beside.txt 2>said)
check 'without -o: beside the trace' [ -f beside.ctf/metadata ]
check '... and that is said' says 'beside.ctf is made'
"$vmmu" export --no-index -f csv few.txt -o - 2>said | head -1 >/dev/null
check 'a reader that goes ends it' [ "${PIPESTATUS[0]}" -eq 141 ]
check 'without a word' [ ! -s said ]

# ---- losses ---------------------------------------------------------------------------------------

awk 'NR == 200 { print "CPU:0 [LOST 5 EVENTS]" } NR == 3000 { print "CPU:0 [LOST 70000 EVENTS]" }
	NR == 3001 { print "CPU:1 [LOST EVENTS]" } { print }' part.txt >lossy.txt
agree 'losses' lossy.txt
check 'are CTF discarded events' [ "$("$here/ctf.py" t.ctf t.csv | sed 's/.*packets, //')" = '3 losses, 70006 discarded' ]
check 'and babeltrace2 warns of them' sh -c 'babeltrace2 t.ctf 2>&1 >/dev/null | grep -qE "discarded 70000 events"'
check 'and moments of the whole in Perfetto' [ "$(grep -c '"s":"g","cat":"lost"' t.json)" -eq 3 ]
(echo 'CPU:0 [LOST 9 EVENTS]'; cat part.txt; echo 'CPU:0 [LOST 4 EVENTS]') >ends.txt
agree 'a loss at each end' ends.txt
head -c 100000 few.txt >cut.txt
agree 'a text cut short' cut.txt
head -c 1500 sample.trace >cut.trace
agree 'a vmmu trace cut short' cut.trace

# ---- hostile names ----------------------------------------------------------------------------------

sed 's/ tvmm-/ a"\\,<b-/' part.txt >hostile.txt
agree 'quotes, commas and backslashes in a name' hostile.txt
check 'the name is in the CSV, quoted' grep -q ',"a""\\,<b",' t.csv
check 'and in CTF' sh -c 'babeltrace2 t.ctf | grep -q "thread = \"a\\\\\"\\\\\\\\,<b\""'
printf '=1+1\033[31m\377\n' | tr -d '\n' >name
sed "s/ tvmm-/ $(cat name)-/" part.txt 2>/dev/null >orders.txt || LC_ALL=C sed "s/ tvmm-/ $(cat name)-/" part.txt >orders.txt
agree 'orders to a terminal and bytes that are no text' orders.txt
check 'nothing of them is left' [ "$(LC_ALL=C grep -c "$(printf '[\033\377]')" t.csv)" -eq 0 ]
for i in $(seq 10 99); do printf '00000000001%s000 T evil"\\</name>,\001x%s\n' "$i" "$i"; done >System.map
sed -i '1i 0000000000100000 T "\\,<evil>' System.map
agree 'a hostile symbol' part.txt --symbols System.map
check 'is a function' grep -q 'evil' t.csv

# ---- curves -------------------------------------------------------------------------------------------

check 'series' export_as csv "$data/npt-split-v7.dat" s.csv --series=50
python3 - <<-'END'
	import csv, sys
	rows = list(csv.DictReader(open("s.csv", newline="")))
	whole = sum(int(r["faults_write"]) + int(r["faults_read"]) + int(r["faults_fetch"]) + int(r["faults_page_walk"])
	            + int(r["faults_refused_by_rights"]) for r in rows)
	ok = len(rows) <= 50 and all(int(r["mapped_bytes"]) == int(r["pages_4k"]) * 4096 + int(r["pages_2m"]) * 2**21 for r in rows)
	sys.exit(0 if ok and whole > 0 and any(int(r["pages_2m"]) for r in rows) else 1)
END
check 'say what is mapped' [ $? -eq 0 ]
check 'of two VMs' export_as csv "$kvm/npt-two.dat.gz" s.csv --series
check 'each has its own' [ "$(sed 1d s.csv | cut -d, -f2 | sort -u | wc -l)" -eq 2 ]
check 'where drops are not recorded' export_as csv "$data/shadow.txt.zst" s.csv --series=3
check 'nothing is said of what is mapped' [ "$(sed -n 2p s.csv | cut -d, -f3-7)" = ',,,,' ]

# ---- what cannot be -------------------------------------------------------------------------------------

check 'no format' fails 'which --format' "$vmmu" export few.txt -o x
check 'an unknown one' fails 'ctf, perfetto or csv, not "xml"' "$vmmu" export -f xml few.txt
check 'CTF to standard output' fails 'CTF is a folder' "$vmmu" export -f ctf few.txt -o -
check 'series as JSON' fails 'goes with --format csv' "$vmmu" export -f json --series few.txt
check 'no steps' fails '1 to 1000000' "$vmmu" export -f csv --series=0 few.txt
check 'no trace' fails 'which trace FILE' "$vmmu" export -f csv
: >empty.txt
check 'an empty file' fails 'empty' "$vmmu" export -f csv empty.txt -o x.csv
check 'makes nothing' [ -z "$(left x.csv)" ]
mkdir full
touch full/file
check 'a folder that holds something' fails 'full cannot be written: .*not empty' "$vmmu" export -f ctf few.txt -o full
check 'stays as it is' [ "$(ls full)" = file ]
check 'a folder for a file' fails 'directory' "$vmmu" export -f csv few.txt -o full
check 'a file for a folder' fails 'exists' "$vmmu" export -f ctf few.txt -o empty.txt
check 'no such folder' fails 'o such file' "$vmmu" export -f csv few.txt -o none/x.csv
mkdir hollow
check 'an empty folder will do' "$vmmu" export --no-index -f ctf few.txt -o hollow
check 'and is a trace now' [ -f hollow/metadata ]
check 'a trailing slash is no matter' "$vmmu" export --no-index -f ctf few.txt -o slash/
check '... either' [ -f slash/metadata ]
echo before >kept.csv
ln -s kept.csv link.csv
chmod 600 kept.csv
check 'through a symbolic link' "$vmmu" export --no-index -f csv few.txt -o link.csv
check 'which stays one' [ -L link.csv ]
check 'and what it names keeps its mode' [ "$(stat -c %a kept.csv)" = 600 ]
check 'and is the export' cmp -s kept.csv whole.csv
cp few.txt own.txt
check 'not over the trace itself' fails 'is the trace itself' "$vmmu" export -f csv own.txt -o ./own.txt
check 'which stays' cmp -s own.txt few.txt
check 'a full disk' fails 'No space left' "$vmmu" export --no-index -f csv few.txt -o /dev/full
check 'a full disk, JSON' fails 'No space left' "$vmmu" export --no-index -f json few.txt -o /dev/full
check 'a standard output that is closed' fails 'Bad file descriptor' sh -c 'exec "$@" >&-' sh "$vmmu" export --no-index -f csv few.txt -o -
check '... of a question' fails 'Bad file descriptor' sh -c 'exec "$@" >&-' sh "$vmmu" faults --no-index few.txt
once() { "$vmmu" export --no-index -f csv few.txt -o - 2>said >/dev/full; [ $? -eq 2 ] && [ "$(wc -l <said)" -eq 1 ]; }
check 'a full one is told of once' once
for format in csv json ctf; do
	check "files may not grow: $format" fails 'File too large' \
		bash -c "ulimit -f 100; exec \"$vmmu\" export -f $format few.txt -o big.$format"
done

# when_it_writes HOW FORMAT: once the output is there under its passing name, HOW befalls it, and it ends as it should
"$build/questions/generate" dat 400000 65536 >long.dat
when_it_writes() {
	setsid python3 - "$1" "$vmmu" export -f "$2" long.dat -o "gone.$2" 2>said <<-'END'
		import glob, os, resource, shutil, signal, subprocess, sys, time
		# What our own caller ignores (nohup), the command would ignore, too.
		for ends in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
		    signal.signal(ends, signal.SIG_DFL)
		how, name = sys.argv[1], sys.argv[-1]
		for _ in range(20):
		    child = subprocess.Popen(sys.argv[2:])
		    while child.poll() is None and not glob.glob(name + ".partial-*"):
		        time.sleep(0.001)
		    if child.poll() is None and how == "full":
		        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (100000, 100000))
		    elif child.poll() is None:
		        time.sleep(0.05)
		        child.send_signal(getattr(signal, how))
		    # On a busy machine it may have ended before it was looked at.
		    if child.wait() != 0:
		        break
		    shutil.rmtree(name) if os.path.isdir(name) else os.remove(name)
		sys.exit(child.returncode != (2 if how == "full" else -getattr(signal, how)))
	END
}
for format in csv json ctf; do
	check "the output finds no room: $format" when_it_writes full $format
	check 'which is said' says "gone.$format cannot be written: File too large"
	check 'and nothing is left' [ -z "$(left gone.)" ]
	for signal in SIGINT SIGTERM SIGHUP; do
		check "$format: $signal ends it" when_it_writes $signal $format
		check 'and nothing is left' [ -z "$(left gone.)" ]
	done
done

# ---- memory ---------------------------------------------------------------------------------------------

# What a process has taken, without the pages of the index, which are the file's: those can go at any time.
anonymous() { # ARGUMENT...
	python3 - "$build/vmmu" "$@" <<-'END'
		import re, subprocess, sys
		most = 0
		# On a busy machine it may have ended before it was looked at.
		while not most:
		    child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
		    while child.poll() is None:
		        try:
		            status = open(f"/proc/{child.pid}/status").read()
		            most = max(most, int(re.search(r"RssAnon:\s+(\d+)", status).group(1)))
		        except (OSError, AttributeError):
		            pass
		    if child.returncode != 0:
		        sys.exit("it fails")
		print(most)
	END
}
reading=$(anonymous info long.dat)
for format in csv json ctf; do
	writing=$(anonymous export -f $format -o much.$format long.dat)
	check "$format: 400,000 events are not held ($reading KiB to read them, $writing KiB to export them, too)" \
		[ "$reading" -gt 0 -a "$writing" -gt 0 -a "$writing" -lt $((reading + 4096)) ]
	rm -rf much.*
done
finish
