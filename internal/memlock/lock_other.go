// SPDX-License-Identifier: MIT

//go:build !linux

package memlock

import "errors"

// Held is one hold on the lock.
type Held struct{}

// Lock returns errors.ErrUnsupported.
func Lock() (*Held, error) { return nil, fail("lock", "", errors.ErrUnsupported) }

// Unlock does nothing.
func (h *Held) Unlock() error { return nil }

func stat(string) (Info, error) { return Info{}, errors.ErrUnsupported }
