/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's image inside the VMM. */
	.section .rodata
	.globl guest_image, guest_image_end
guest_image:
	.incbin GUEST_FILE
guest_image_end:
	.section .note.GNU-stack, "", @progbits
