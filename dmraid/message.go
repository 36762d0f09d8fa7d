// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/linuxblock/linuxblock/dm"
)

// Message is a message of the target: what md shall do with the array
// (raid_message in drivers/md/dm-raid.c). It is a [dm.TargetMessage].
//
// The kernel takes it in any case. Its answers:
//
//   - EINVAL from a raid0, which has nothing to sync, and for any other word;
//   - EINVAL for MessageIdle and MessageFrozen on later kernels, such as Linux
//     6.12, which break off what runs and then take them for unknown words:
//     nothing stays frozen there;
//   - EBUSY while something runs or is about to, but for MessageIdle and MessageFrozen;
//   - success also where nothing follows: MessageResync and MessageRecover of an
//     array that is in sync do nothing, and a message that comes in the moment
//     between the end of an action and md's putting it away is forgotten. The
//     status says idle in that moment; a MessageIdle before makes sure.
//
// Every message but MessageFrozen ends the frozen state before it is looked at, even
// one that is refused then.
type Message string

// The messages.
const (
	// MessageIdle breaks off what runs. A resync or a recovery that is not through
	// starts again at once, from where it was; a check or a repair is over.
	MessageIdle Message = "idle"
	// MessageFrozen breaks off what runs and keeps anything from starting, until the
	// next message or the next resume of the device.
	MessageFrozen Message = "frozen"
	// MessageResync starts a resync that is due.
	MessageResync Message = "resync"
	// MessageRecover starts the rebuilding of legs that are out of sync.
	MessageRecover Message = "recover"
	// MessageCheck reads all legs, compares, and counts in Status.Mismatches. On an
	// array that was never synced it runs too, and the resync follows it.
	MessageCheck Message = "check"
	// MessageRepair is a check that makes the legs equal: from the first one with
	// raid1 and raid10, by making the parity anew with raid 4, 5 and 6. What it
	// found is not told: a MessageCheck before and one behind do.
	MessageRepair Message = "repair"
)

var _ dm.TargetMessage = Message("")

// TargetType is "raid".
func (m Message) TargetType() string { return targetName }

// Text is the word.
func (m Message) Text() string { return string(m) }

// Validate refuses a word that the kernel does not know.
func (m Message) Validate() error {
	_, err := ParseMessage(string(m))
	return err
}

// ParseMessage reads a message in any case, as the kernel does.
func ParseMessage(s string) (Message, error) {
	for _, m := range [...]Message{MessageIdle, MessageFrozen, MessageResync, MessageRecover, MessageCheck, MessageRepair} {
		if strings.EqualFold(string(m), s) {
			return m, nil
		}
	}
	return "", &Error{Op: "message", Object: s, Code: einval, Detail: "not idle, frozen, resync, recover, check or repair"}
}

const ebusy = syscall.Errno(16) // Linux's, on every operating system

// Send sends a message to the array that maps the first sector of a device
// and says what a refusal means. The error matches dm.ErrBusy when something
// runs, and errors.ErrUnsupported when the level knows no sync.
func Send(ctx context.Context, c *dm.Client, ref dm.Ref, m Message) error {
	_, err := c.Send(ctx, ref, m)
	return messageError(ref, m, err)
}

func messageError(ref dm.Ref, m Message, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: string(m), Object: ref.String(), Err: err}
	var de *dm.Error
	if !errors.As(err, &de) {
		return e
	}
	e.Code = de.Code
	switch de.Code {
	case ebusy:
		e.Detail = "something runs already"
	case einval:
		if _, perr := ParseMessage(string(m)); perr == nil {
			e.Detail = "a raid0 has nothing to sync"
			e.Err = errors.Join(errors.ErrUnsupported, err)
		}
	}
	return e
}
