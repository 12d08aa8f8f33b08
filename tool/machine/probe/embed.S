/* SPDX-License-Identifier: BSD-2-Clause */
	.section .rodata
	.globl probe_image, probe_image_end
probe_image:
	.incbin PROBE_FILE
probe_image_end:
	.section .note.GNU-stack, "", @progbits
