// SPDX-License-Identifier: MIT

package dm

import "context"

// TargetMessage is a message to a target as a value: [Client.Send] sends it.
// Like Target the interface is open.
type TargetMessage interface {
	// TargetType is the kernel's name of the target that understands it.
	TargetType() string
	// Text is what [Client.Message] would send.
	Text() string
	// Validate checks what the kernel would refuse.
	Validate() error
}

// Send sends a typed message to the target at the start of a device, and
// returns the answer, which most targets leave empty. The error matches
// fs.ErrExist and fs.ErrNotExist when the message makes or names something
// inside the target that is there already or is not, such as a thin volume.
func (c *Client) Send(ctx context.Context, ref Ref, m TargetMessage) (string, error) {
	if err := m.Validate(); err != nil {
		return "", fail("message", ref, &Error{Code: einval, Detail: m.TargetType(), Err: err})
	}
	return c.Message(ctx, ref, 0, m.Text())
}
