// SPDX-License-Identifier: BSD-2-Clause
// The moment that the whole page shows, and how to move it.
import { element } from './format.js';
import { change, onChange, state } from './state.js';

export const timeText = (vm, seconds) => `${(vm.begin + seconds).toFixed(6)} s`;

const STEPS = 1000, PLAY_SECONDS = 15;

// How much happened when, under the slider: where it is worth to look.
function drawActivity(canvas, vm) {
	const counts = [...vm.curves.writes, ...vm.curves.faults];
	const sums = Array.from({ length: vm.steps }, (_, i) => counts.reduce((n, c) => n + c.values[i], 0));
	const most = Math.max(1, ...sums), pen = canvas.getContext('2d');
	canvas.width = vm.steps;
	canvas.height = 16;
	pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--soft').trim();
	sums.forEach((n, i) => {
		const height = n ? Math.max(2, Math.round(16 * Math.sqrt(n / most))) : 0;
		pen.fillRect(i, 16 - height, 1, height);
	});
}

export function buildClock(place) {
	const output = element('output', { for: 'time' });
	const slider = element('input', { type: 'range', id: 'time', min: 0, max: STEPS, step: 1, 'aria-label': 'Moment' });
	const before = element('button', { type: 'button', id: 'before', title: 'The write of this entry before (,)', 'aria-label': 'Earlier write of the chosen entry' }, '‹ write');
	const after = element('button', { type: 'button', id: 'after', title: 'The next write of this entry (.)', 'aria-label': 'Later write of the chosen entry' }, 'write ›');
	const play = element('button', { type: 'button', id: 'play', title: 'Show it from the beginning (p)', 'aria-label': 'Play', 'aria-pressed': 'false' }, '▶');
	const activity = element('canvas', { class: 'activity', 'aria-hidden': 'true' });
	place.append(element('div', { class: 'clock-row' }, play, output, before, element('div', { class: 'slide' }, slider, activity), after));


	const to = (seconds) => change({ time: seconds });
	const writeTimes = () => {
		const { vm, level, address } = state, entry = vm.find(level, address);
		return entry < 0 ? [] : vm.writesOf(entry).map((w) => vm.time(w));
	};
	const near = () => state.vm.unit * 1.5;
	const earlier = () => { const t = writeTimes().filter((x) => x < state.time - near()).pop(); if (t !== undefined) to(t); };
	const later = () => { const t = writeTimes().find((x) => x > state.time + near()); if (t !== undefined) to(t); };
	// From the moment, or from the beginning when it stands at the end.
	let playing = 0;
	const stop = () => {
		cancelAnimationFrame(playing);
		playing = 0;
		play.textContent = '▶';
		play.setAttribute('aria-pressed', 'false');
	};
	const start = () => {
		const { vm } = state, from = state.time > vm.length * 0.98 ? 0 : state.time, begun = performance.now();
		const frame = (now) => {
			const time = from + Math.max(0, now - begun) / 1000 / PLAY_SECONDS * vm.length;
			playing = requestAnimationFrame(frame);
			to(Math.min(vm.length, time));
			if (time >= vm.length) stop();
		};
		play.textContent = '❚❚';
		play.setAttribute('aria-pressed', 'true');
		playing = requestAnimationFrame(frame);
	};
	const toggle = () => { if (playing) stop(); else start(); };
	play.addEventListener('click', toggle);
	for (const what of ['pointerdown', 'keydown']) slider.addEventListener(what, stop);
	slider.addEventListener('input', () => to(state.vm.length * slider.value / STEPS));
	before.addEventListener('click', earlier);
	after.addEventListener('click', later);
	document.addEventListener('keydown', (e) => {
		if (e.ctrlKey || e.altKey || e.metaKey || e.target.tagName === 'SELECT') return;
		if (e.key === 'p') toggle();
		if (e.key === ',') earlier();
		if (e.key === '.') later();
	});
	onChange((what) => {
		const { vm, time } = state;
		if (what.vm) {
			stop();
			drawActivity(activity, vm);
		}
		if (Math.abs(slider.value - time / (vm.length || 1) * STEPS) > 0.75) slider.value = time / (vm.length || 1) * STEPS;
		output.textContent = timeText(vm, time);
		slider.setAttribute('aria-valuetext', timeText(vm, time));
		const times = writeTimes();
		before.disabled = !times.some((x) => x < time - near());
		after.disabled = !times.some((x) => x > time + near());
	});
}
