# SPDX-License-Identifier: BSD-2-Clause
# What questions.sh asks.

# Every write of the TDP MMU finds what the one before it left.
for run in map split two; do
	for mode in ept npt; do
		for form in dat txt; do
			expect 0 '^ +0  unexplained' "$vmmu" check "$kvm/$mode-$run.$form.gz"
		done
	done
	for form in dat txt; do
		expect 0 'cannot be known' "$vmmu" check "$kvm/shadow-$run.$form.gz"
	done
done

expect 0 '3,090  leaves set in shadow tables of nested' "$vmmu" check "$kvm/npt-nested.dat.gz"
expect 0 '^ +0  unexplained' "$vmmu" check "$kvm/npt-nested.dat.gz"

# A fault of a nested guest says nothing of the tables at that address.
expect 0 'wrote nothing; what is mapped there is not known' "$vmmu" faults "$kvm/npt-nested.dat.gz"
expect 1 '' sh -c '"$0" faults "$1" | grep -q "it comes again"' "$vmmu" "$kvm/npt-nested.dat.gz"

# The same run in each form of recording.
says check-thp 0 check "$data/thp.txt.zst"
says check-few 0 check "$data/few.txt.zst"
says check-shadow 0 check "$data/shadow.txt.zst"
says check-perf 0 check "$data/perf.data.zst"
says check-report 0 check "$data/tc.report.gz"
says check-json 0 check --json "$data/thp.txt.zst"
same 'report and report -R' . "$data/tc.report.gz" "$data/tc.reportR.gz" trace --all
same 'trace.dat versions 6 and 7' . "$kvm/npt-split.dat.gz" "$data/npt-split-v7.dat" trace --all
for run in map split; do
	for mode in ept npt; do
		same 'trace.dat and text' '(seen|inferred): ' "$kvm/$mode-$run.dat.gz" "$kvm/$mode-$run.txt.gz" walk --gpa 40001000
	done
done
expect 0 '32  writes of entries' "$vmmu" check "$data/perf.script.gz"
expect 0 'PID 189' sh -c 'zstd -dc "$1" | "$0" check -' "$vmmu" "$data/thp.txt.zst"
expect 0 'PID 189' sh -c 'zstd -dc "$1" | gzip | "$0" check /dev/stdin' "$vmmu" "$data/thp.txt.zst"

# A pipe gives the same answers as the file, also where the last lines name the first events' threads.
for run in two split found; do
	cp "$kvm/npt-$run.dat.gz" piped
	expect 0 '' sh -c '"$0" check piped >first && "$0" zaps piped >>first &&
		cat piped | "$0" check - >second && cat piped | "$0" zaps - >>second && cmp first second' "$vmmu"
done

# So does its text, as trace-cmd prints it.
if command -v trace-cmd >/dev/null; then
	zcat "$kvm/npt-two.dat.gz" >two.dat
	trace-cmd report two.dat >two.report 2>/dev/null
	expect 0 '' sh -c '"$0" info two.report >first && "$0" zaps two.report >>first &&
		cat two.report | "$0" info - >second && cat two.report | "$0" zaps - >>second && cmp first second' "$vmmu"
	expect 0 '^ +0  unexplained' sh -c 'cat two.report | "$0" check -' "$vmmu"
fi

# What comes is shown as it comes: from a pipe that stays open, and from a file that grows.
zstd -dcq "$data/thp.txt.zst" | head -60 >growing
expect 0 'L1 4 KiB +gpa 0x000419000 +fault' sh -c 'mkfifo open; { cat growing; exec sleep 60; } >open & p=$!
	timeout 50 "$0" trace --follow --limit 4 - <open; s=$?; kill $p; rm open; exit $s' "$vmmu"
expect 0 'L2 2 MiB +gpa 0x000200000 +fault' sh -c 'head -30 growing >grows; { sleep 1; tail -n +31 growing >>grows; } &
	timeout 50 "$0" trace --follow --limit 10 --vm 189 grows' "$vmmu"
head -17 growing >short
expect 124 'L4 512 GiB +gpa 0x000000000 +fault' timeout 5 "$vmmu" trace --follow short
expect 2 'do not go with it' "$vmmu" trace --follow --last 3 growing

# Questions
says walk 0 walk --gpa 40001000 "$data/thp.txt.zst"
says walk-split 0 walk --gpa 0x40001000 --at 59.4ms --brief "$data/thp.txt.zst"
says walk-host-clock 0 walk --gpa 0x40001000 --at @10.284800 --host-clock --brief "$data/thp.txt.zst"
says walk-json 0 walk --gpa 40001000 --json --at 60ms --last 1 "$data/thp.txt.zst"
says walk-bits 0 walk --gpa 0x40001000 --at 59.4ms --brief --bits "$data/thp.txt.zst"
says walk-bits-ept 0 walk --gpa 8000 --at 10ms --brief --bits "$kvm/ept-map.txt.gz"
says walk-bits-json 0 walk --gpa 0x40001000 --brief --bits --json "$data/thp.txt.zst"
says walk-shadow 0 walk --gpa 40000000 "$data/shadow.txt.zst"
says walk-ept 0 walk --gpa 8000 --at 10ms "$kvm/ept-map.txt.gz"
says walk-vm-2 0 walk --gpa 400000 --brief --vm 2 --at 20ms "$kvm/ept-two.txt.gz"
says dump 0 dump --at 59.2ms "$data/thp.txt.zst"
says dump-split 0 dump --at 61ms --gpa 40000000-405fffff --last 20 "$data/thp.txt.zst"
says trace 0 trace --limit 12 "$data/thp.txt.zst"
says trace-last 0 trace --last 5 --all "$data/thp.txt.zst"
says trace-cause 0 trace --cause split --json "$data/thp.txt.zst"
says info 0 info "$kvm/npt-two.dat.gz"
says info-json 0 info --json "$data/thp.txt.zst"

says faults 0 faults "$data/thp.txt.zst"
says faults-by-function 0 faults --by function --since 59ms "$data/thp.txt.zst"
says faults-by-cause 0 faults --by cause "$kvm/npt-map.dat.gz"
says faults-order 0 faults --order --last 8 "$data/thp.txt.zst"
says faults-json 0 faults --json --last 2 "$kvm/ept-map.dat.gz"
says faults-shadow 0 faults --last 3 "$data/shadow.txt.zst"
says zaps 0 zaps "$data/thp.txt.zst"
says zaps-two 0 zaps "$kvm/ept-two.txt.gz"
says zaps-json 0 zaps --json --last 1 "$kvm/npt-map.dat.gz"
# Stacks tell for whom: from trace.dat by addresses, from text by names, also of trace-cmd and perf.
says zaps-stacks 0 zaps "$kvm/npt-stacks.dat.gz"
says zaps-stacks-json 0 zaps --json --last 2 "$kvm/npt-stacks.dat.gz"
same 'stacks in trace.dat and text' '"origin"' "$kvm/npt-stacks.dat.gz" "$kvm/npt-stacks.txt.gz" zaps --json
expect 0 '^ +32  ... it had been dropped for a memory slot' "$vmmu" faults "$kvm/npt-stacks.txt.gz"
zcat "$kvm/npt-stacks.dat.gz" >stacks.dat
if command -v trace-cmd >/dev/null; then
	trace-cmd report stacks.dat >stacks.report 2>/dev/null
	expect 0 'zap-notifier  8 .* for madvise' "$vmmu" zaps stacks.report
fi
expect 0 'unmapped hva 0x[0-9a-f]+-0x[0-9a-f]+, for madvise' "$vmmu" walk --gpa 40001000 "$kvm/npt-stacks.dat.gz"
says pages 0 pages --at 61ms "$data/thp.txt.zst"
says pages-json 0 pages --json "$kvm/ept-split.dat.gz"
says mmio 0 mmio "$kvm/ept-map.dat.gz"
says mmio-json 0 mmio --json "$kvm/npt-map.txt.gz"
says dirty 0 dirty "$data/thp.txt.zst"
says dirty-json 0 dirty --json "$kvm/npt-map.dat.gz"
says diff 1 diff "$data/thp.txt.zst@59.2ms" @61ms
says diff-equal 0 diff "$data/thp.txt.zst@59.2ms" @59.2ms
says diff-json 1 diff --json "$kvm/npt-split.txt.gz@3.5ms" @10ms
says diff-two 1 diff "$kvm/npt-map.dat.gz@20ms" "$kvm/npt-split.dat.gz@20ms"

# The same questions of vmmu's own traces.
"$sample" sample
"$sample" shadow shadow
for question in info faults zaps pages mmio dirty; do
	says vmmu-$question 0 $question sample
done
says vmmu-shadow-faults 0 faults shadow
says vmmu-diff 1 diff sample@100us @240us
expect 2 'cannot be known' "$vmmu" pages shadow

# A thread's name is anybody's text: what a terminal would obey is shown as a number.
printf '  e\033[31mvil\377-10  (   10) [000] ..... 1.000001: kvm_tdp_mmu_spte_changed: as id 0 gfn 0 level 4 old_spte 0 new_spte 100827\n' >evil
for question in info 'walk --gpa 0' trace check zaps 'info --json'; do
	# shellcheck disable=SC2086 # words on purpose
	expect 0 '' "$vmmu" $question evil --color=never </dev/null
	expect 1 '' grep -q "$(printf '\033\|\377')" output
done
expect 0 'e.x1b.31mvil.xff' "$vmmu" info evil

# Lines that are a little out of order are put in order. What lies far back is said in every question.
zstd -dcq "$data/thp.txt.zst" >ordered
awk '/^#/ { print; next } { block[n++] = $0 } n == 7 { for (i = n; i-- > 0;) print block[i]; n = 0 }
	END { for (i = n; i-- > 0;) print block[i] }' ordered >disordered
expect 0 'order +[0-9,]+ events came .*; none could not be put in order' "$vmmu" info disordered
same 'lines out of order' '^(L| +L)' ordered disordered dump --at 61ms
expect 1 '' sh -c '"$0" check disordered 2>&1 | grep -q "time long before"' "$vmmu"
sed -E 's/\( +189\)/(    190)/; s/tvmm-189/tvmm-190/; s/ 10\.([0-9]{6}):/  4.\1:/' ordered | cat ordered - >joined
for question in info faults zaps pages mmio dirty check trace 'walk --gpa 40000000' dump 'faults --json'; do
	# shellcheck disable=SC2086 # words on purpose
	expect '[01]' 'time long before that of others' "$vmmu" $question joined
done
expect 0 '"late": [0-9]{3}' "$vmmu" info --json joined
expect 0 'time long before that of others' "$vmmu" diff joined@10ms @20ms
expect 0 '"warnings": \[' sh -c '"$0" faults --json joined 2>/dev/null' "$vmmu"

# Two VMs where the text names no process, or both are one process's.
zcat "$kvm/npt-two.txt.gz" >two
sed -E 's/\( *[0-9]+\) //' two >two-nameless
sed -E 's/\( *(107|108)\)/(    107)/' two >two-in-one
for text in two-nameless two-in-one; do
	expect 0 '^VM 2, .* 2 vCPUs, 76 faults, 166 writes, 1 root' "$vmmu" info $text
	expect 0 '^ +0  unexplained' "$vmmu" check $text
	same "$text" '^(L| +L)' two $text dump --vm 1 --at 60ms
	same "$text" '^(L| +L)' two $text dump --vm 2 --at 600ms
done
expect 0 '^VM 2, .*; it begins where VM 1 of the same PID has ended' "$vmmu" info two-in-one
# A VM that begins with the PID of one that has ended
{ cat ordered; sed -E 's/ 10\.([0-9]{6}):/ 99.\1:/' ordered; } >again
expect 0 '^VM 2, .* 4 roots; it begins where VM 1 of the same PID has ended' "$vmmu" info again
expect 0 'in 2 VMs|^VM 2' "$vmmu" check again

# A moment: in whole microseconds all of that one, as times are printed so; with more digits exactly that.
moments() {
	local before='' time
	printf '  a-10  [000] 1.%s: kvm_tdp_mmu_spte_changed: as id 0 gfn 0 level 4 old_spte 0 new_spte 100827\n' "$1"
	for time in "${@:2}"; do
		before=${level:-4}
		level=$((before - 1))
		printf '  a-10  [000] 1.%s: kvm_tdp_mmu_spte_changed: as id 0 gfn 0 level %d old_spte 0 new_spte 10%d827\n' "$time" $level $level
	done
	unset level
}
moments 000000 000043 000044 >micro
moments 000000000 000043000 000043500 >nano
# at RECORDING TIME LEVEL: the tables down to that level are there by then
at() {
	expect 0 "at 0\.0000[0-9]+\$" "$vmmu" dump --at "$2" "$1"
	if [ "$(grep -cE '^ *L[1-4] ' output)" = $((5 - $3)) ]; then
		passed=$((passed + 1))
	else
		fail "dump --at $2 $1: not $((5 - $3)) entries" output
	fi
}
for time in 43us 0.000043 0.043ms 43.0us 43.2us 43.9999us 43999ns 0.00004399999999999999999999 @1.000043; do
	at micro "$time" 3
done
for time in 42us 42.999us 42999ns 0.042999999999999ms; do at micro "$time" 4; done
for time in 44us 44000ns 44.00us; do at micro "$time" 2; done
for time in 43us 43.5us 43500ns 0.0000435; do at nano "$time" 2; done
for time in 43.4us 43.0us 43499ns 43000ns @1.0000434; do at nano "$time" 3; done
for time in 42us 42.9us; do at nano "$time" 4; done
expect 0 'L2' "$vmmu" trace --all --since 43.1us micro
expect 1 '' grep -q 'L3' output
expect 0 'L3' "$vmmu" trace --all --since 43us --until 43.2us micro
expect 1 '' grep -q 'L2' output
expect 0 'L2' "$vmmu" trace --all --since 43.2us --until 43.5us nano
expect 1 '' grep -q 'L3' output
expect 2 'takes a time' "$vmmu" dump --at 1e3 micro
expect 2 'takes a time' "$vmmu" dump --at 99999999999999999999s micro
# A vmmu trace: its first entry is written at 50 us.
[ -e sample ] || "$sample" sample
for time in 50us 50.0us 0.00005 50000ns 50.1us; do expect 0 'L4 .*table 0x2000' "$vmmu" dump --at $time sample; done
for time in 49.9us 49us 49999ns 49.999999us; do expect 1 '' sh -c '"$0" dump --at "$2" "$1" 2>&1 | grep L4' "$vmmu" sample $time; done
# Its end is the last event's, also of one that nothing is made of.
{ cat micro; echo '  a-10  [000] 1.000050: kvm_unheard_of: whatever'; } >longer
expect 0 'at 0.000050' "$vmmu" dump --at 50us longer
expect 2 'ends at 0.000050' "$vmmu" dump --at 51us longer

# No room for an index: the next place is taken, and the last one is memory. A pipe gives its events once.
# ./full COMMAND: in a folder of 2 MiB in which 64 KiB are free, which is also the one for temporary files
unshare=-m
unshare -m true 2>/dev/null || unshare=-rm
mkdir full.d
cat >full <<END
#!/bin/sh
exec unshare $unshare sh -c '
	mount -t tmpfs -o size=2m none "\$1" && cd "\$1" && cp "\$2" trace && { head -c 4M /dev/zero >fill 2>/dev/null
	truncate -s -64K fill; TMPDIR=\$1 HOME=\$1 XDG_CACHE_HOME=; export TMPDIR HOME XDG_CACHE_HOME; shift 2; "\$@"; }
' full "$work/full.d" "$data/thp.txt.zst" "\$@"
END
chmod +x full
if unshare $unshare mount -t tmpfs none /mnt 2>/dev/null; then
	expect 0 '^VM 1, NPT' ./full "$vmmu" info trace
	expect 0 '^VM 1, NPT' ./full env TMPDIR=/nowhere "$vmmu" info trace
	expect 2 'No space left on device; it takes .*TMPDIR=FOLDER' ./full sh -c '"$0" info - <trace' "$vmmu"
	expect 0 '^VM 1, NPT' ./full env "TMPDIR=$TMPDIR" sh -c 'cat trace | "$0" info -' "$vmmu"
	expect 0 '^VM 1, NPT' ./full sh -c 'mount -o remount,ro . && "$0" info trace' "$vmmu"
fi
expect 2 'no index can be made; it takes .*TMPDIR=FOLDER' env TMPDIR=/nowhere sh -c 'cat "$1" | "$0" info -' "$vmmu" "$data/thp.txt.zst"

# What cannot be answered
expect 2 'not a vmmu trace .*no recording of KVM .*vmmu record' "$vmmu" check /bin/sh
expect 2 'cannot be known' "$vmmu" dump "$data/shadow.txt.zst"
expect 2 'beyond what 4 levels' "$vmmu" walk --gpa 1000000000000 "$data/thp.txt.zst"
expect 2 'hexadecimal' "$vmmu" walk --gpa zz "$data/thp.txt.zst"
expect 2 'no VM "7"' "$vmmu" walk --gpa 0 --vm 7 "$data/thp.txt.zst"
expect 2 'takes a time' "$vmmu" walk --gpa 0 --at noon "$data/thp.txt.zst"
expect 2 'ends at 0.066866, before --at 9999' "$vmmu" walk --gpa 0 --at 9999 "$data/thp.txt.zst"
expect 2 'cannot be known' "$vmmu" pages "$data/shadow.txt.zst"
expect 2 'which two' "$vmmu" diff "$data/thp.txt.zst"
expect 2 'gpa, function, vcpu, cause or page' "$vmmu" faults --by luck "$data/thp.txt.zst"
expect 2 'lies before --since' "$vmmu" faults --since 2ms --until 1ms "$data/thp.txt.zst"
expect 2 'one moment at a time' "$vmmu" walk --gpa 0 --at 1ms --at 2ms "$data/thp.txt.zst"
expect 2 'ends at 0.066866, before --since 9999' "$vmmu" faults --since 9999 "$data/thp.txt.zst"
expect 2 'ends at 0.000260, before --since 1' "$vmmu" zaps --since 1 sample
expect 2 'no vCPU 7, its last one is 0' "$vmmu" faults --vcpu 7 "$data/thp.txt.zst"
expect 2 'no vCPU 7, its last one is 0' "$vmmu" trace --vcpu 7 sample
expect 2 'no VM 9' "$vmmu" trace --vm 9 sample
expect 2 'no VM "9"' "$vmmu" zaps --vm 9 sample
expect 2 'one --since at a time' "$vmmu" zaps --since 1us --since 2us sample
expect 2 'one trace FILE at a time' "$vmmu" zaps sample sample

# A vmmu trace is watched as it grows, and as it comes through a pipe.
expect 0 'L2 2 MiB +gpa 0x001400000' sh -c '{ head -c 1200 sample; sleep 1; tail -c +1201 sample; } | timeout 50 "$0" trace --follow --vcpu 0 -' "$vmmu"
expect 124 'violation +empty -> table 0x4000' sh -c '{ head -c 1200 sample; sleep 6; } | timeout 5 "$0" trace --follow --vcpu 0 -' "$vmmu"
expect 0 'vCPU 0  write at 0x001234000 .* 4 entries in 80 us' sh -c 'cat sample | timeout 50 "$0" faults --follow -' "$vmmu"
expect 0 'zap-slot +1 2M .* - +0x1400000-0x15fffff' sh -c 'cat sample | timeout 50 "$0" zaps --follow -' "$vmmu"
expect 0 'vCPU 0  write at 0x[0-9a-f]+  by rip .* 1 entry in' sh -c 'zstd -dcq "$1" | timeout 50 "$0" faults --follow -' "$vmmu" "$data/thp.txt.zst"
expect 0 'zap.* 0x[0-9a-f]+-0x[0-9a-f]+, tvmm' sh -c 'zstd -dcq "$1" | timeout 50 "$0" zaps --follow -' "$vmmu" "$data/thp.txt.zst"
expect 2 'one of the two' "$vmmu" zaps --follow --json sample
