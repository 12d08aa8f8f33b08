/* SPDX-License-Identifier: BSD-2-Clause */
/* The probe guest's image (probe.S), as bytes inside the command. */
	.section .rodata
	.globl probe_image, probe_image_end
probe_image:
	.incbin PROBE_FILE
probe_image_end:
	.section .note.GNU-stack, "", @progbits
