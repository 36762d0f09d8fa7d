// SPDX-License-Identifier: MIT

package dmtest

import (
	"slices"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// Call is an ioctl as the hooks see it.
type Call struct {
	Transport    *Transport
	Command      string // "DEV_CREATE", as in the kernel header without DM_ and _CMD
	Name, UUID   string
	Major, Minor uint32 // of the dev field; zero when the caller named no device so
	Flags        uint32
	EventNr      uint32 // event number or udev cookie
	Request      []byte // the caller's whole buffer as it was; not to be changed
	Err          error  // behind the call: its outcome
}

type hook struct{ f func(*Call) error }

// Hook runs f before every ioctl of a caller with the right to make it. f
// may sleep, which is what a task in state D looks like, or return an errno,
// which the ioctl then fails with and changes nothing. It runs on the
// caller's goroutine and may use the Kernel. remove takes the hook away.
func (k *Kernel) Hook(f func(call *Call) error) (remove func()) { return k.addHook(&k.before, f) }

// HookAfter runs f behind every ioctl, when its effect is there but the
// caller does not know yet. An error replaces the outcome and then nothing
// is copied back.
func (k *Kernel) HookAfter(f func(call *Call) error) (remove func()) { return k.addHook(&k.after, f) }

func (k *Kernel) addHook(list *[]*hook, f func(*Call) error) func() {
	h := &hook{f}
	k.mu.Lock()
	defer k.mu.Unlock()
	// Copied, because calls under way walk the old list.
	*list = append(slices.Clip(*list), h)
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		*list = slices.DeleteFunc(slices.Clone(*list), func(o *hook) bool { return o == h })
	}
}

func (k *Kernel) runHooks(list *[]*hook, call *Call) error {
	k.mu.Lock()
	hooks := *list
	k.mu.Unlock()
	for _, h := range hooks {
		if err := h.f(call); err != nil {
			return err
		}
	}
	return nil
}

func (t *Transport) newCall(cmd dmwire.Command, p *param, buf []byte) *Call {
	c := &Call{
		Transport: t, Command: cmd.String(), Name: p.name(), UUID: p.uuid(),
		Flags: uint32(p.flags()), EventNr: p.eventNr(), Request: slices.Clone(buf),
	}
	c.Major, c.Minor = splitDev(p.dev())
	return c
}

// Uevent is a netlink message of the kernel to udev about a device.
type Uevent struct {
	Action string // "add", "change", "remove"
	Device string // "dm-0"
	Cookie uint32 // DM_COOKIE, absent when zero
	Resize bool   // RESIZE=1: a resume that changed the size
}

// Uevents returns what was sent so far.
func (k *Kernel) Uevents() []Uevent {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.uevents)
}

// OnUevent runs f for each uevent, as udevd would, on its own goroutine: a
// test completes the cookie there. A nil f ends it.
func (k *Kernel) OnUevent(f func(Uevent)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.onUevent = f
}

// uevent sends one; it reports false when the disk is not registered, and
// then UEVENT_GENERATED stays clear. Called with mu held.
func (d *device) uevent(action string, cookie uint32, resize bool) bool {
	if !d.registered {
		return false
	}
	k := d.k
	e := Uevent{Action: action, Device: d.diskName(), Cookie: cookie, Resize: resize}
	k.uevents = append(k.uevents, e)
	if k.onUevent != nil {
		go k.onUevent(e)
	}
	return true
}
