// SPDX-License-Identifier: BSD-2-Clause
// Numbers as people read them, and elements. Whatever comes from a trace goes in as text, never as markup.

export const hex = (n) => '0x' + (typeof n === 'bigint' ? n : BigInt(Math.round(n))).toString(16);
export const gpaText = (n) => '0x' + Math.round(n).toString(16).padStart(9, '0');
export const count = (n) => Math.round(n).toLocaleString('en-US');

export function bytes(n) {
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
	let i = 0;
	for (; n >= 1024 && i + 1 < units.length; i++) n /= 1024;
	return `${n >= 100 || Number.isInteger(n) ? Math.round(n) : n.toFixed(1)} ${units[i]}`;
}

export function duration(s) {
	if (s < 1e-5) return `${(s * 1e6).toFixed(1)} µs`;
	if (s < 1e-3) return `${Math.round(s * 1e6)} µs`;
	if (s < 1) return `${(s * 1e3).toFixed(1)} ms`;
	return `${s.toFixed(2)} s`;
}

export const rate = (n) => n >= 1e9 ? `${(n / 1e9).toFixed(1)} G` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} M` : n >= 1e4 ? `${Math.round(n / 1e3)} k` : n >= 1e3 ? `${(n / 1e3).toFixed(1)} k` : `${Math.round(n)}`;

export function element(name, attributes = {}, ...children) {
	const e = document.createElement(name);
	for (const [key, value] of Object.entries(attributes)) {
		if (key.startsWith('on')) e.addEventListener(key.slice(2), value);
		else if (value !== null && value !== undefined && value !== false) e.setAttribute(key, value === true ? '' : value);
	}
	e.append(...children.filter((c) => c !== null && c !== undefined));
	return e;
}

const tip = () => document.getElementById('tip');
export function showTip(x, y, text) {
	const t = tip();
	t.textContent = text;
	t.hidden = false;
	t.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - t.offsetWidth - 8))}px`;
	t.style.top = `${y + 18 + t.offsetHeight > innerHeight ? y - t.offsetHeight - 10 : y + 18}px`;
}
export function hideTip() { tip().hidden = true; }
