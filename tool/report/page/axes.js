// SPDX-License-Identifier: BSD-2-Clause
// What all pictures over time share: margins, the axis of time, the line at the moment.
import { axisBottom } from 'd3-axis';
import { scaleLinear } from 'd3-scale';
import { change, state } from './state.js';

export const MARGIN = { left: 84, right: 12, top: 6, bottom: 26 };

export const timeScale = (vm, width) => scaleLinear().domain([0, vm.length || 1e-9]).range([MARGIN.left, width - MARGIN.right]);

// Ticks are of the recording's time, which does not begin at 0 when a part is shown.
export function drawTimeAxis(group, vm, width, y) {
	const scale = scaleLinear().domain([vm.begin, vm.begin + (vm.length || 1e-9)]).range([MARGIN.left, width - MARGIN.right]);
	const small = vm.length < 0.5, wide = Math.max(2, Math.floor(width / 110));
	group.attr('class', 'axis').attr('transform', `translate(0,${y})`)
		.call(axisBottom(scale).ticks(wide).tickSizeOuter(0).tickFormat((t) => small ? `${+(t * 1e3).toFixed(3)} ms` : `${+t.toFixed(3)} s`));
}

export function moveTo(scale, x) {
	change({ time: Math.min(state.vm.length, Math.max(0, scale.invert(x))) });
}

// Redraw when the width of a place changes.
export function onWidth(place, draw) {
	let last = 0;
	new ResizeObserver(() => {
		if (place.clientWidth && place.clientWidth !== last) {
			last = place.clientWidth;
			draw();
		}
	}).observe(place);
}
