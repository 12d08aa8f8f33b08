// SPDX-License-Identifier: BSD-2-Clause
// Which functions of the guest fault and exit most.
import { count, element } from './format.js';
import { onChange, state } from './state.js';

const SHOWN = 15;

export function buildFunctions(place) {
	onChange(({ vm }) => {
		if (!vm) return;
		if (!vm.functions.length) {
			place.replaceChildren(element('p', { class: 'empty' }, 'No fault or exit was recorded in this time.'));
			return;
		}
		const some = (what) => vm.functions.some((f) => f[what]);
		const columns = [['faults', 'Faults'], ['writes', 'Entries written'], ['exits', 'Exits']].filter(([what]) => some(what));
		const most = Object.fromEntries(columns.map(([what]) => [what, Math.max(1, ...vm.functions.map((f) => f[what]))]));
		const rows = vm.functions.slice(0, SHOWN).map((f) => {
			const bars = columns.map(([what], i) => {
				const bar = element('span', { class: `bar k${i + 1}`, 'aria-hidden': 'true' });
				bar.style.width = `${f[what] / most[what] * 100}%`;
				return f[what] ? bar : null;
			});
			return element('tr', {}, element('td', { class: 'name mono' }, f.name),
				...columns.map(([what, title]) => element('td', { class: 'number', 'data-label': title }, count(f[what]))), element('td', { class: 'bars' }, ...bars));
		});
		const hint = state.trace.symbols ? null : element('p', { class: 'lead' }, 'Addresses of guest instructions. vmmu report --symbols System.map (or vmlinux, or a copy of /proc/kallsyms) gives them names.');
		place.replaceChildren(...[hint, element('div', { class: 'scroll' }, element('table', {}, element('thead', {}, element('tr', {},
			element('th', { scope: 'col', class: 'name' }, state.trace.symbols ? 'Function' : 'Instruction'), ...columns.map(([, title], i) => element('th', { scope: 'col', class: 'number' }, element('span', { class: `swatch k${i + 1}`, 'aria-hidden': 'true' }), title)),
			element('th', { 'aria-hidden': 'true' }))), element('tbody', {}, ...rows)))].filter(Boolean));
	});
}
