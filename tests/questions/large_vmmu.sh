#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A large vmmu trace: it is mapped, not loaded, from wherever it comes and in whatever
# order its streams were written; it is followed while it grows.
#
#   tests/questions/large_vmmu.sh VMMU GENERATE [RECORDS]
set -u
vmmu=$(realpath "$1")
generate=$(realpath "$2")
records=${3:-3000000}
. "$(dirname "$(realpath "$0")")/../tool/lib.sh"

# limited COMMAND...: with 60 MB of memory that no file stands behind; the trace has some 200 MB
limited() (
	ulimit -d 60000
	exec "$vmmu" "$@"
)

"$generate" "$records" 16384 >large
limited check large >said 2>&1
check 'check explains it' grep -q '^the trace explains its tables' said
limited walk --gpa 1000000 large >walk 2>/dev/null
check 'walk finds the page over the index' grep -q '=> host-physical 0x000201000000' walk
check 'long histories are told by their ends' grep -q ' more: violation .*, zap-range ' walk
limited walk --gpa 1000000 --bits --brief large >walk 2>/dev/null
check 'a replay finds the same' grep -q '=> host-physical 0x000201000000' walk
limited info --no-index large >info 2>&1
check 'so does the index' grep -q 'records\|events' info
check 'there is one VM: checksums are the file.s' [ "$(grep -c '^VM ' info)" -eq 1 ]
limited trace --limit 3 large >trace 2>/dev/null
check 'trace lists it' [ "$(grep -c violation trace)" -eq 3 ]

# Packed, and through a pipe, whose header says that it was not closed.
zstd -q -1 <large >large.zst
"$generate" 100000 16384 2>/dev/null | head -c 512 >growing_header
limited walk --gpa 1000000 --bits --brief - <large.zst 2>/dev/null >second
check 'packed it says the same' cmp -s walk second
"$generate" "$records" 16384 | limited walk --gpa 1000000 --bits --brief - 2>/dev/null >second
check 'so it does through a pipe' cmp -s walk second

# The host's calls written out behind everything else, as their stream may be.
"$vmmu" trace --limit 3 large 2>/dev/null >first
python3 -B - large <<'END'
import sys
data = open(sys.argv[1], "rb").read()
body = [data[n:n + 64] for n in range(512, len(data), 64)]
body = [r for r in body if r[12:14] != b"\x12\x00"]  # checksums are of the old order
head = bytearray(data[:512])
head[8:12] = (1).to_bytes(4, "little")
head[24:32] = len(body).to_bytes(8, "little")
head[52:56] = bytes(4)
late = [r for r in body if r[18:20] == b"\xff\xff"]
open("shuffled", "wb").write(bytes(head) + b"".join([r for r in body if r[18:20] != b"\xff\xff"] + late))
END
limited check shuffled >said 2>&1
check 'another order of streams makes no difference' grep -q '^the trace explains its tables' said
limited trace --limit 3 shuffled 2>/dev/null >second
check 'nor in what is listed' cmp -s first second
(ulimit -f 100; exec "$vmmu" check shuffled) >said 2>&1
check 'no room to sort it is said' grep -q 'no room in the temporary folder to sort' said

# Devices: what a fault's access was, read or write, is what is counted.
python3 -B - <<'END'
import struct
def record(time, seq, event, level, vcpu, fault, aux, *words):
    return struct.pack("<QIHBBHHIHHI4Q", time, seq, event, level, 0, 1, vcpu, fault, 1, 0, aux, *words)
records = [record(10, 0, 1, 4, 0xffff, 0, 0, 2, 4, 40, 31)]
seq = 0
for fault, access in ((1, 1), (2, 2), (3, 1)):
    for event, aux, words in ((4, access, (0xfec00000, 0, 0x1000, 0)), (12, 0, (0xfec00000, 0xfec00, 0x1000, 0)),
                              (5, 4, (0xfec00000, 0, 0, 1))):
        records.append(record(20 + seq, seq, event, 0, 0, fault, aux, *words))
        seq += 1
head = bytearray(512)
head[:8] = b"VMMUTRC\0"
head[8:16] = struct.pack("<II", 1, 64)
head[24:32] = struct.pack("<Q", len(records))
head[40:52] = struct.pack("<QI", 1000000, 1)
open("devices", "wb").write(bytes(head) + b"".join(records))
END
"$vmmu" mmio devices >said 2>&1
check 'reads and writes of devices are told apart' grep -q '^3 accesses to devices: 1 writes, 2 reads' said

# Packed nothing without end, behind a good header: it is not unpacked.
{
	head -c 512 growing_header
	head -c 2000000000 /dev/zero
} 2>/dev/null | zstd -q -1 >bomb.zst
(ulimit -f 20000; exec timeout 60 "$vmmu" check bomb.zst) >said 2>&1
check 'packed nothing costs nothing' grep -q '0 records' said

# On a terminal lines end where it does; nowhere else.
script -qec "stty cols 50; '$vmmu' trace --limit 9 --no-index --color=never '$work/devices'; '$vmmu' walk --gpa 0 --bits --brief --color=never '$work/large'" \
	/dev/null </dev/null 2>/dev/null | tr -d '\r' | grep -v '^vmmu:' >said
check 'lines are cut on a terminal' [ "$(wc -L <said)" -eq 50 ]
"$vmmu" walk --gpa 0 --bits --brief large 2>/dev/null >said
check 'and are whole in a file' [ "$(wc -L <said)" -gt 80 ]

# While it grows.
"$generate" 100000 16384 2>/dev/null | head -c 204800 >growing
head -c 51200 growing >grows
(
	sleep 1
	tail -c +51201 growing >>grows
) &
timeout 60 "$vmmu" trace --follow --vcpu 0 --limit 500 grows >said 2>/dev/null
check 'a growing trace is followed' [ "$(grep -c 'violation' said)" -eq 500 ]
wait

# Cut short by somebody while it is read: a sentence, no signal.
cp large cut
(
	sleep 0.3
	truncate -s 1000000 cut
) &
"$vmmu" trace cut 2>said | { sleep 1; cat >/dev/null; }
check 'a trace that shrinks ends the command in order' [ "${PIPESTATUS[0]}" -le 2 ]
wait
finish
