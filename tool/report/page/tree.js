// SPDX-License-Identifier: BSD-2-Clause
// The tables at the moment: for each level the one on the way to the chosen entry, 512 squares.
import { spanOf, KIND } from './data.js';
import { bytes, count, element, gpaText, hideTip, showTip } from './format.js';
import { timeText } from './clock.js';
import { change, onChange, state } from './state.js';

const ENTRIES = 512, ROW = 32;

const tableBase = (level, address) => Math.floor(address / spanOf(level + 1)) * spanOf(level + 1);

// Something to look at: of the entries that map a page at a moment that of the smallest page which was written most often.
export function startingPlace(vm, seconds) {
	const root = vm.rootAt(seconds), { e_level: levels, e_writes: writes } = vm.c;
	const better = (i, j) => levels[i] < levels[j] || (levels[i] === levels[j] && writes[i] > writes[j]);
	let best = -1, mapped = -1;
	for (let i = 0; i < levels.length; i++) {
		if (best < 0 || better(i, best)) best = i;
		if ((mapped < 0 || better(i, mapped)) && vm.kind(vm.writeAt(i, seconds, root)) === KIND.leaf) mapped = i;
	}
	if (mapped >= 0) best = mapped;
	return best < 0 ? { level: vm.levels, address: 0 } : { level: vm.c.e_level[best], address: vm.address(best) };
}

function classOf(vm, write, level) {
	switch (vm.kind(write)) {
	case KIND.table: return 'cell t';
	case KIND.leaf: return `cell s${Math.min(3, level)}${vm.writable(write) ? '' : ' ro'}`;
	case KIND.device: return 'cell d';
	case KIND.other: return 'cell o';
	default: return 'cell';
	}
}

// Writes of the 512 entries of a table at the moment; -1 = nothing was written.
function tableAt(vm, level, base, time, root, linked) {
	const writes = new Int32Array(ENTRIES).fill(-1);
	if (!linked) return writes;
	const span = spanOf(level), end = vm.levelEnd(level);
	let entry = vm.seek(level, base);
	if (entry < 0) return writes;
	for (; entry < end && vm.address(entry) < base + span * ENTRIES; entry++)
		writes[Math.round((vm.address(entry) - base) / span)] = vm.writeAt(entry, time, root);
	return writes;
}

export function buildTree(place) {
	const legend = element('ul', { class: 'legend' },
		...[['kt', 'table'], ['k1', '4 KiB page'], ['k2', '2 MiB page'], ['k3', '1 GiB page'], ['k4', 'device']].map(([k, name]) =>
			element('li', {}, element('span', { class: `swatch ${k}` }), name)),
		element('li', {}, element('span', { class: 'swatch cell s2 ro' }), 'not writable'));
	const levels = element('div', { class: 'levels' }), empty = element('p', { class: 'empty', hidden: true });
	const parts = new Map();
	place.append(legend, levels, empty);

	const label = (level, index) => {
		const { vm, time } = state, part = parts.get(level), write = part.writes[index];
		const gpa = part.base + index * spanOf(level);
		return `Entry ${index}, ${gpaText(gpa)} + ${bytes(spanOf(level))}: ${write < 0 ? 'empty' : vm.meaning(write, level)} at ${timeText(vm, time)}`;
	};
	const choose = (level, index) => change({ level, address: parts.get(level).base + index * spanOf(level) });
	const focus = (level, index) => {
		const cell = parts.get(level)?.cells[index];
		if (!cell) return;
		cell.setAttribute('aria-label', label(level, index));
		cell.focus({ preventScroll: false });
	};

	// The next entry that holds something, in a direction.
	const next = (part, index, step) => {
		for (let i = index + step; i >= 0 && i < ENTRIES; i += step)
			if (part.writes[i] >= 0 && state.vm.kind(part.writes[i]) !== KIND.empty) return i;
		return index;
	};

	function key(level, event) {
		const part = parts.get(level), index = part.cells.indexOf(event.target);
		if (index < 0) return;
		let to = index;
		const jump = event.ctrlKey || event.metaKey;
		switch (event.key) {
		case 'ArrowRight': to = jump ? next(part, index, 1) : index + 1; break;
		case 'ArrowLeft': to = jump ? next(part, index, -1) : index - 1; break;
		case 'ArrowDown': to = index + ROW; break;
		case 'ArrowUp': to = index - ROW; break;
		case 'Home': to = jump ? 0 : index - index % ROW; break;
		case 'End': to = jump ? ENTRIES - 1 : index - index % ROW + ROW - 1; break;
		case 'PageDown': to = next(part, index, 1); break;
		case 'PageUp': to = next(part, index, -1); break;
		case 'Enter':
		case ' ':
			event.preventDefault();
			choose(level, index);
			if (event.key === 'Enter' && level > 1 && state.vm.kind(part.writes[index]) === KIND.table) {
				const below = parts.get(level - 1), first = next(below, -1, 1);
				focus(level - 1, Math.max(0, first));
			}
			return;
		case 'Backspace':
		case 'Escape':
			if (!parts.has(level + 1)) return;
			event.preventDefault();
			to = Math.floor((part.base - parts.get(level + 1).base) / spanOf(level + 1));
			choose(level + 1, to);
			focus(level + 1, to);
			return;
		default: return;
		}
		event.preventDefault();
		if (to < 0 || to >= ENTRIES) return;
		part.cells[index].tabIndex = -1;
		part.cells[to].tabIndex = 0;
		focus(level, to);
	}

	function makeLevel(level) {
		const cells = Array.from({ length: ENTRIES }, (_, i) => element('div', { class: 'cell', role: 'gridcell', tabindex: i ? -1 : 0, 'data-index': i }));
		const rows = Array.from({ length: ENTRIES / ROW }, (_, r) => element('div', { role: 'row' }, ...cells.slice(r * ROW, (r + 1) * ROW)));
		const table = element('div', { class: 'table', role: 'grid', 'aria-label': `Level ${level}, 512 entries of ${bytes(spanOf(level))}`, id: `level-${level}` }, ...rows);
		const where = element('span', { class: 'mono' }), fill = element('span');
		const node = element('div', { class: 'level' }, element('div', { class: 'level-head' },
			element('h3', {}, `Level ${level} · ${bytes(spanOf(level))} each`), where, fill), table);
		table.addEventListener('keydown', (e) => key(level, e));
		table.addEventListener('click', (e) => {
			const index = cells.indexOf(e.target);
			if (index < 0) return;
			choose(level, index);
			focus(level, index);
		});
		table.addEventListener('mousemove', (e) => {
			const index = cells.indexOf(e.target);
			if (index >= 0) showTip(e.clientX, e.clientY, label(level, index)); else hideTip();
		});
		table.addEventListener('mouseleave', hideTip);
		table.addEventListener('focusin', (e) => {
			const index = cells.indexOf(e.target);
			if (index >= 0) e.target.setAttribute('aria-label', label(level, index));
		});
		return { node, table, cells, where, fill, base: 0, writes: new Int32Array(ENTRIES).fill(-1), chosen: -1 };
	}

	function build(vm) {
		parts.clear();
		const known = vm.exact && vm.c.e_level.length > 0;
		legend.hidden = levels.hidden = !known;
		empty.hidden = known;
		empty.textContent = vm.exact ? 'No entry was written in this time.' : `${vm.whyNoMap} ${vm.seenDrops ? 'vmmu walk --gva shows the tables on the way to an address.' : 'vmmu walk shows what was set.'}`;
		for (let level = vm.levels; level >= 1; level--) parts.set(level, makeLevel(level));
		levels.replaceChildren(...[...parts.values()].map((p) => p.node));
	}

	function update() {
		const { vm, time, level: chosen, address } = state, root = vm.rootAt(time);
		let linked = true, table = root?.table, above = null;
		for (let level = vm.levels; level >= 1; level--) {
			const part = parts.get(level);
			part.base = level === vm.levels ? 0 : tableBase(level, address);
			part.writes = tableAt(vm, level, part.base, time, root, linked && root);
			let there = 0;
			part.cells.forEach((cell, i) => {
				const name = classOf(vm, part.writes[i], level);
				if (cell.className !== name) cell.className = name;
				there += name !== 'cell';
			});
			const index = Math.floor((address - part.base) / spanOf(level)), on = level >= chosen;
			if (part.chosen >= 0) part.cells[part.chosen].removeAttribute('aria-selected');
			part.cells.forEach((cell) => { if (cell.tabIndex === 0) cell.tabIndex = -1; });
			part.cells[on ? index : 0].tabIndex = 0;
			part.chosen = on ? index : -1;
			if (on) part.cells[index].setAttribute('aria-selected', 'true');
			part.where.textContent = linked && (root || level < vm.levels)
				? `${table ? `table ${table}` : above ? '' : `root ${root?.id ?? ''}`} from ${gpaText(part.base)}` : 'no table here at this moment';
			part.fill.textContent = level < vm.lowest_level ? 'left out of this page: see the notice at the top' : linked ? `${count(there)} of 512 in use` : '';
			const write = part.writes[index];
			linked = linked && vm.kind(write) === KIND.table;
			table = linked ? vm.meaning(write, level).match(/0x[0-9a-f]+/)?.[0] : null;
			above = part;
		}
	}

	onChange((what) => {
		if (what.vm) build(what.vm);
		if (state.vm.exact && state.vm.c.e_level.length) update();
	});
}
