/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the machine has besides its fixed ACPI hardware: the serial port, the
 * clock chips, and how to turn it off. Numbers are those of device/wiring.h.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "VMMU  ", "VISOR   ", 1)
{
	/* Sleep type for PM1a_CNT, SLEEP_TYPE_S5. */
	Name (\_S5, Package () { 5, 5, 0, 0 })

	Scope (\_SB)
	{
		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_STA, 0x0f)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x03f8, 0x03f8, 0x00, 0x08)
				IRQNoFlags () { 4 }
			})
		}

		Device (RTC)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0070, 0x0070, 0x00, 0x02)
				IRQNoFlags () { 8 }
			})
		}

		Device (TIMR)
		{
			Name (_HID, EisaId ("PNP0100"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0040, 0x0040, 0x00, 0x04)
				IRQNoFlags () { 0 }
			})
		}

		Device (PIC)
		{
			Name (_HID, EisaId ("PNP0000"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0020, 0x0020, 0x00, 0x02)
				IO (Decode16, 0x00a0, 0x00a0, 0x00, 0x02)
				IO (Decode16, 0x04d0, 0x04d0, 0x00, 0x02)
				IRQNoFlags () { 2 }
			})
		}
	}
}
