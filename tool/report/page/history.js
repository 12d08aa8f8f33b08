// SPDX-License-Identifier: BSD-2-Clause
// When and why the chosen entry was written.
import { spanOf, KIND } from './data.js';
import { bytes, count, duration, element, gpaText, hex } from './format.js';
import { timeText } from './clock.js';
import { change, onChange, state } from './state.js';

const SHOWN = 200, FOUND = 16, BEFORE = 32, OLD = 64, UNEXPLAINED = 8;

// By whom and for what, in words; with how long before the write when that is asked for.
export function reason(vm, write, since = true) {
	const fault = vm.fault(write), flags = vm.c.w_flags[write];
	if (flags & FOUND) return 'there when recording began';
	if (flags & BEFORE) return 'before the time shown';
	if (fault)
		return `${fault.access} at ${gpaText(fault.gpa)} by vCPU ${fault.vcpu}, ${fault.place}${since ? `, ${duration(Math.max(0, vm.time(write) - fault.time))} before` : ''}`;
	const thread = vm.trace.threads[vm.c.w_thread[write]];
	return thread ? `by ${thread}` : '';
}

function knownText(vm, write) {
	const flags = vm.c.w_flags[write], folded = vm.c.w_folded[write];
	return vm.trace.known[flags & 7] + (flags & UNEXPLAINED ? ', unexplained' : '') + (folded ? `, ${count(folded)} more before it in this step` : '');
}

function row(vm, write, level, status) {
	const flags = vm.c.w_flags[write], old = flags & OLD ? vm.oldOf.get(write) : undefined;
	const before = old === undefined ? '' : ` (held ${hex(BigInt(vm.c.o_high[old]) << 32n | BigInt(vm.c.o_low[old]))})`;
	return element('tr', { class: status, 'data-time': vm.time(write) },
		element('td', { class: 'number' }, element('button', { type: 'button', title: 'Go to this moment', onclick: () => change({ time: vm.time(write) }) }, timeText(vm, vm.time(write)))),
		element('td', {}, flags & FOUND ? 'found' : vm.trace.causes[vm.c.w_cause[write]]),
		element('td', {}, element('code', {}, vm.meaning(write, level)), before),
		element('td', {}, reason(vm, write)),
		element('td', { class: 'mono' }, hex(vm.value(write))),
		element('td', {}, knownText(vm, write)));
}

export function buildHistory(place) {
	const head = element('div', { class: 'history-head', 'aria-live': 'polite' }), body = element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Writes of the chosen entry' });
	place.append(head, body);
	let shown = '', rows = [];

	function list() {
		const { vm, level, address } = state, entry = vm.find(level, address);
		const writes = entry < 0 ? [] : vm.writesOf(entry);
		head.replaceChildren(element('h3', {}, `History of ${gpaText(address)} + ${bytes(spanOf(level))}`),
			element('span', { class: 'soft' }, `level ${level}, ${writes.length === 1 ? '1 write' : `${count(writes.length)} writes`}`));
		rows = [];
		if (!writes.length) {
			body.replaceChildren(element('p', { class: 'empty' }, 'This entry was never written in the time shown.'));
			return;
		}
		const kept = writes.length > SHOWN ? [...writes.slice(0, SHOWN / 2), ...writes.slice(-SHOWN / 2)] : writes;
		const tbody = element('tbody');
		kept.forEach((write, i) => {
			if (writes.length > SHOWN && i === SHOWN / 2)
				tbody.append(element('tr', {}, element('td', { colspan: 6 }, `… ${count(writes.length - SHOWN)} more …`)));
			const tr = row(vm, write, level, '');
			rows.push([write, tr]);
			tbody.append(tr);
		});
		body.replaceChildren(element('table', { class: 'stack', id: 'writes' }, element('thead', {}, element('tr', {},
			...['Time', 'Cause', 'What it holds from then on', 'Why, by whom', 'Entry', 'How it is known'].map((t, i) =>
				element('th', { scope: 'col', class: i ? null : 'number' }, t)))), tbody));
	}

	function mark() {
		const { vm, time } = state;
		let now = null;
		for (const [write, tr] of rows) {
			const past = vm.c.w_time[write] <= time / vm.unit + 0.5;
			tr.className = past ? '' : 'later';
			if (past) now = tr;
		}
		if (!now) return;
		now.className = 'now';
		// Only inside its own box: the page itself must not move.
		body.scrollTop = Math.max(0, now.offsetTop - body.clientHeight / 2);
	}

	onChange((what) => {
		const which = `${state.level} ${state.address}`;
		if (what.vm || which !== shown) {
			shown = which;
			list();
		}
		mark();
	});
}
