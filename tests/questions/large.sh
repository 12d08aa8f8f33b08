#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A large recording: its index is built in little memory, kept, used, and given up when
# the recording changes.
#
#   tests/questions/large.sh VMMU GENERATE [EVENTS]
set -u
vmmu=$(realpath "$1")
generate=$(realpath "$2")
events=${3:-4000000}
. "$(dirname "$(realpath "$0")")/../tool/lib.sh"

# An index is kept when making it took a second: on a fast machine that wants more events.
for more in 1 2 4 8; do
	"$generate" dat $((events * more)) 65536 >large.dat
	"$vmmu" check large.dat >said 2>&1
	check 'every write is explained' grep -q '^every write found' said
	first=$(stat -c %i large.dat.vmmu-index 2>/dev/null)
	[ -z "$first" ] || break
done
check 'an index is kept' [ -n "$first" ]
"$vmmu" walk --gpa 3000000 large.dat >first 2>&1
check 'the index is used again' [ "$(stat -c %i large.dat.vmmu-index)" = "$first" ]
"$vmmu" walk --no-index --gpa 3000000 large.dat >second 2>&1
check 'the answer is the same without it' cmp -s first second

# Memory: that of the guest's tables, not that of the events. The index is a file that is
# mapped, and follows the events: what counts is the memory that no file stands behind.
(ulimit -d 200000; "$vmmu" check --no-index large.dat >said 2>&1)
check 'it takes less than 200 MB of memory' grep -q '^every write found' said
(ulimit -d 20000; "$vmmu" check --no-index large.dat >said 2>&1)
check 'too little memory is said' grep -q 'out of memory' said

# A damaged index is built again; so is one of another recording.
dd if=/dev/urandom of=large.dat.vmmu-index bs=64 count=1 conv=notrunc 2>/dev/null
"$vmmu" walk --gpa 3000000 large.dat >second 2>&1
check 'a damaged index does no harm' cmp -s first second
truncate -s 100000 large.dat.vmmu-index
"$vmmu" walk --gpa 3000000 large.dat >second 2>&1
check 'an index cut short does no harm' cmp -s first second
touch large.dat
"$vmmu" walk --gpa 3000000 large.dat >second 2>&1
check 'an index of before is not believed' cmp -s first second

# Where the folder cannot be written, it lies in the user's cache.
if [ "$(id -u)" -ne 0 ]; then
	rm -f large.dat.vmmu-index
	chmod 555 .
	"$vmmu" check large.dat >/dev/null 2>&1
	check 'the cache is used' [ -n "$(ls cache/vmmu 2>/dev/null)" ]
	chmod 755 .
fi
finish
