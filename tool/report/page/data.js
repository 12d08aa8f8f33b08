// SPDX-License-Identifier: BSD-2-Clause
// The trace as it stands in the page: JSON, and for each VM numbers in columns.

const PAGE = 4096, MAYBE = 5;

export function readTrace() {
	return JSON.parse(document.getElementById('trace').textContent);
}

function bytesOf(text) {
	if (Uint8Array.fromBase64)
		return Uint8Array.fromBase64(text);
	const raw = atob(text);
	const bytes = new Uint8Array(raw.length);
	for (let i = 0; i < raw.length; i++)
		bytes[i] = raw.charCodeAt(i);
	return bytes;
}

async function unpack(text) {
	const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream('gzip'));
	return new Response(stream).arrayBuffer();
}

// A VM's columns as typed arrays, with what is asked of them.
export async function openVm(trace, number) {
	const about = trace.vms[number];
	const buffer = await unpack(document.getElementById(`data-${number}`).textContent);
	const columns = {};
	for (const [name, [width, offset, count]] of Object.entries(about.columns))
		columns[name] = new { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[width](buffer, offset, count);
	return new Vm(trace, about, columns);
}

export const spanOf = (level) => PAGE * 512 ** (level - 1);

// What stands in an entry: kinds as the trace's reader has them.
export const KIND = { empty: 0, removed: 1, table: 2, leaf: 3, device: 4, other: 5 };

class Vm {
	constructor(trace, about, columns) {
		Object.assign(this, about);
		this.trace = trace;
		this.c = columns;
		const count = columns.e_level.length;
		this.firstWrite = new Uint32Array(count + 1);
		this.levelFrom = {};
		for (let i = 0; i < count; i++) {
			this.firstWrite[i + 1] = this.firstWrite[i] + columns.e_writes[i];
			this.levelFrom[columns.e_level[i]] ??= i;
		}
		this.oldOf = new Map();
		columns.o_write.forEach((write, i) => this.oldOf.set(write, i));
	}

	// Legacy MMU: entries may have been dropped unseen. A trace of the visor's shadow tables has each write.
	get seenDrops() { return this.c.w_flags.some((flags) => (flags & 7) !== MAYBE); }

	// Why there is no map of a VM that is not exact.
	get whyNoMap() {
		if (!this.c.w_flags.length) return 'No entry was written in this time, so nothing is known of what was mapped.';
		return this.seenDrops ? 'Shadow tables translate guest-virtual addresses, in many address spaces: there is no one map of guest-physical memory.'
			: 'Under shadow paging and KVM’s legacy MMU no event says when an entry is dropped, so what was mapped at a moment is not known.';
	}

	// The last moment at which most was mapped; of the end of a trace often only teardown is left.
	fullest() {
		let best = 0, at = this.steps - 1;
		for (let i = 0; i < this.steps; i++) {
			const bytes = this.curves.pages.reduce((sum, c, level) => sum + c.values[i] * spanOf(level + 1), 0);
			if (bytes >= best && bytes) { best = bytes; at = i; }
		}
		return Math.min(this.length, (at + 0.99) * this.step);
	}

	// Seconds since the beginning of what is shown.
	time(write) { return this.c.w_time[write] * this.unit; }
	address(entry) { return (this.c.e_page_low[entry] + this.c.e_page_high[entry] * 2 ** 32) * PAGE; }
	levelEnd(level) {
		let end = this.c.e_level.length;
		for (let l = level - 1; l >= 1; l--)
			if (this.levelFrom[l] !== undefined) { end = this.levelFrom[l]; break; }
		return end;
	}

	// The first entry of a level at or after an address.
	seek(level, address) {
		let low = this.levelFrom[level], high = this.levelEnd(level);
		if (low === undefined)
			return -1;
		while (low < high) {
			const middle = (low + high) >> 1;
			if (this.address(middle) < address) low = middle + 1; else high = middle;
		}
		return low;
	}

	// The entry that covers an address, or -1.
	find(level, address) {
		const start = Math.floor(address / spanOf(level)) * spanOf(level);
		const entry = this.seek(level, start);
		return entry >= 0 && entry < this.levelEnd(level) && this.address(entry) === start ? entry : -1;
	}

	rootAt(seconds) {
		let found = null;
		for (const root of this.roots)
			if (root.since <= seconds + this.unit) found = root;
		return found;
	}

	// The last write of an entry up to a moment, of a root; -1 = none yet.
	writeAt(entry, seconds, root) {
		let low = this.firstWrite[entry], high = this.firstWrite[entry + 1];
		const begin = low, limit = seconds / this.unit + 0.5;
		while (low < high) {
			const middle = (low + high) >> 1;
			if (this.c.w_time[middle] <= limit) low = middle + 1; else high = middle;
		}
		for (let write = low - 1; write >= begin; write--)
			if (!root || this.c.w_root[write] === root.id) return write;
		return -1;
	}

	kind(write) { return write < 0 ? KIND.empty : this.meanings[this.c.w_meaning[write]][1]; }
	writable(write) { return this.meanings[this.c.w_meaning[write]][2]; }
	value(write) { return BigInt(this.c.w_high[write]) << 32n | BigInt(this.c.w_low[write]); }

	meaning(write, level) {
		const [text, kind] = this.meanings[this.c.w_meaning[write]];
		let address = this.value(write) & 0x000ffffffffff000n;
		if (kind === KIND.leaf)
			address &= ~(BigInt(spanOf(level)) - 1n);
		return text.replace('@', '0x' + address.toString(16));
	}

	writesOf(entry) {
		const out = [];
		for (let w = this.firstWrite[entry]; w < this.firstWrite[entry + 1]; w++) out.push(w);
		return out;
	}

	fault(write) {
		const n = this.c.w_fault[write] - 1;
		if (n < 0) return null;
		const access = this.c.f_access[n];
		return {
			time: this.c.f_time[n] * this.unit,
			gpa: this.c.f_low[n] + this.c.f_high[n] * 2 ** 32,
			vcpu: this.c.f_vcpu[n],
			place: this.places[this.c.f_rip[n]],
			access: (access & 4 ? 'fetch' : access & 2 ? 'write' : 'read') + (access & 16 ? ' by the guest’s page walk' : '') +
				(access & 32 ? ' of a device' : access & 8 ? ' refused by rights' : ''),
		};
	}
}
