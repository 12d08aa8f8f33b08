// SPDX-License-Identifier: BSD-2-Clause
// The moment that the whole page shows, and how to move it.
import { element } from './format.js';
import { change, onChange, state } from './state.js';

export const timeText = (vm, seconds) => `${(vm.begin + seconds).toFixed(6)} s`;

const STEPS = 1000;

export function buildClock(place) {
	const output = element('output', { for: 'time' });
	const slider = element('input', { type: 'range', id: 'time', min: 0, max: STEPS, step: 1, 'aria-label': 'Moment' });
	const before = element('button', { type: 'button', id: 'before', title: 'The write of this entry before (,)', 'aria-label': 'Earlier write of the chosen entry' }, '‹ write');
	const after = element('button', { type: 'button', id: 'after', title: 'The next write of this entry (.)', 'aria-label': 'Later write of the chosen entry' }, 'write ›');
	place.append(element('div', { class: 'clock-row' }, output, before, slider, after));

	const to = (seconds) => change({ time: seconds });
	const writeTimes = () => {
		const { vm, level, address } = state, entry = vm.find(level, address);
		return entry < 0 ? [] : vm.writesOf(entry).map((w) => vm.time(w));
	};
	const near = () => state.vm.unit * 1.5;
	const earlier = () => { const t = writeTimes().filter((x) => x < state.time - near()).pop(); if (t !== undefined) to(t); };
	const later = () => { const t = writeTimes().find((x) => x > state.time + near()); if (t !== undefined) to(t); };
	slider.addEventListener('input', () => to(state.vm.length * slider.value / STEPS));
	before.addEventListener('click', earlier);
	after.addEventListener('click', later);
	document.addEventListener('keydown', (e) => {
		if (e.ctrlKey || e.altKey || e.metaKey || e.target.tagName === 'SELECT') return;
		if (e.key === ',') earlier();
		if (e.key === '.') later();
	});
	onChange(() => {
		const { vm, time } = state;
		if (Math.abs(slider.value - time / (vm.length || 1) * STEPS) > 0.75) slider.value = time / (vm.length || 1) * STEPS;
		output.textContent = timeText(vm, time);
		slider.setAttribute('aria-valuetext', timeText(vm, time));
		const times = writeTimes();
		before.disabled = !times.some((x) => x < time - near());
		after.disabled = !times.some((x) => x > time + near());
	});
}
