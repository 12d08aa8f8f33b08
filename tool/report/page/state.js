// SPDX-License-Identifier: BSD-2-Clause
// What the reader looks at: a VM, a moment, an entry. Parts are told of changes.

const listeners = [];

export const state = { trace: null, vm: null, time: 0, level: 0, address: 0 };

export function onChange(listener) { listeners.push(listener); }

export function change(what) {
	Object.assign(state, what);
	for (const listener of listeners) listener(what);
}
