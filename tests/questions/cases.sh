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

# Questions
says walk 0 walk --gpa 40001000 "$data/thp.txt.zst"
says walk-split 0 walk --gpa 0x40001000 --at 59.4ms --brief "$data/thp.txt.zst"
says walk-host-clock 0 walk --gpa 0x40001000 --at @10.284800 --host-clock --brief "$data/thp.txt.zst"
says walk-json 0 walk --gpa 40001000 --json --at 60ms --last 1 "$data/thp.txt.zst"
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

# What cannot be answered
expect 2 'cannot be known' "$vmmu" dump "$data/shadow.txt.zst"
expect 2 'beyond what 4 levels' "$vmmu" walk --gpa 1000000000000 "$data/thp.txt.zst"
expect 2 'hexadecimal' "$vmmu" walk --gpa zz "$data/thp.txt.zst"
expect 2 'no VM "7"' "$vmmu" walk --gpa 0 --vm 7 "$data/thp.txt.zst"
expect 2 'takes a time' "$vmmu" walk --gpa 0 --at noon "$data/thp.txt.zst"
expect 2 'ends at 0.066866, before --at 9999' "$vmmu" walk --gpa 0 --at 9999 "$data/thp.txt.zst"
expect 2 'one moment at a time' "$vmmu" walk --gpa 0 --at 1ms --at 2ms "$data/thp.txt.zst"
