// SPDX-License-Identifier: MIT

package dmtest

// background is the work that targets of the running tables do on their own:
// writing back, hydrating.
type background struct {
	held bool
	work map[any]func() // by the instance; called without mu
}

// HoldBackground says whether the targets cache, writecache and clone wait
// with the work that they do on their own, so that a test can see the state
// before: dirty blocks of a cache with the policy cleaner, of a writecache
// above its high watermark or with a cleaner, regions that are not hydrated.
// Otherwise they do it at once: when they are resumed and after each I/O or
// message. HoldBackground(false) does what was held.
func (k *Kernel) HoldBackground(hold bool) {
	k.mu.Lock()
	k.background.held = hold
	var all []func()
	if !hold {
		for _, f := range k.background.work {
			all = append(all, f)
		}
	}
	k.mu.Unlock()
	for _, f := range all {
		f()
	}
}

// startBackground begins the work of an instance: f does all that is to be
// done, again and again until stopBackground. It takes its own locks.
func (k *Kernel) startBackground(inst any, f func()) {
	k.mu.Lock()
	if k.background.work == nil {
		k.background.work = map[any]func(){}
	}
	k.background.work[inst] = f
	k.mu.Unlock()
	k.kick(inst)
}

func (k *Kernel) stopBackground(inst any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.background.work, inst)
}

// kick lets an instance do its work now, if it is running and nothing is held.
// Called without locks of the instance.
func (k *Kernel) kick(inst any) {
	k.mu.Lock()
	f := k.background.work[inst]
	held := k.background.held
	k.mu.Unlock()
	if f != nil && !held {
		f()
	}
}

// disksDiscard says whether the targets find disks that take discards: here it
// is as with the kernel's RAM disks, in Linux 6.12 and not in 6.1.
func (k *Kernel) disksDiscard() bool { return k.version.AtLeast(4, 48) }
