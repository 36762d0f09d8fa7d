// SPDX-License-Identifier: MIT

package dmraid

import "fmt"

// MailSettings are the three settings of md that a table decides, by the
// design mail of the target: of the array, and of a leg.
type MailSettings struct {
	RecoveryCP     Sectors // how far the array is synced; MaxSector: wholly
	InSync         bool    // the leg
	RecoveryOffset Sectors // how far the leg is rebuilt; MaxSector: wholly
}

// MailState is the pair of matrices in the design mail of 2010: what the
// words of a table were to mean for a leg, which has metadata or not, and is
// named by rebuild or not. The rows that it calls invalid, and those that it
// doesn't have, sync with nosync, are errors with [ErrTable].
//
// It is what was meant. What kernels do is [KernelState].
func MailState(withMetadata, nosync, sync, rebuild bool) (MailSettings, error) {
	refused := func(text string) (MailSettings, error) {
		return MailSettings{}, &Error{Op: "mail", Code: einval, Detail: text, Err: ErrTable}
	}
	s := MailSettings{InSync: true, RecoveryCP: MaxSector, RecoveryOffset: MaxSector}
	switch {
	case sync && nosync:
		return refused("sync and nosync contradict each other")
	case sync && rebuild:
		return refused("a leg can't be rebuilt from an array that is to be synced")
	case rebuild && !nosync && !withMetadata:
		return refused("without metadata nothing says that the array is in sync, which a rebuild needs")
	case rebuild:
		s.InSync, s.RecoveryOffset = false, 0
	case sync, !withMetadata && !nosync:
		s.RecoveryCP = 0
	}
	return s, nil
}

// String is "recovery_cp=0 In_sync=1 recovery_offset=MaxSector", as the mail
// writes it.
func (s MailSettings) String() string {
	at := func(v Sectors) string {
		if v == MaxSector {
			return "MaxSector"
		}
		return fmt.Sprint(uint64(v))
	}
	in := 0
	if s.InSync {
		in = 1
	}
	return fmt.Sprintf("recovery_cp=%s In_sync=%d recovery_offset=%s", at(s.RecoveryCP), in, at(s.RecoveryOffset))
}
