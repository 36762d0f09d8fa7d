// SPDX-License-Identifier: MIT

package kmsg

import (
	"errors"
	"io/fs"
	"sync"

	"github.com/linuxblock/linuxblock/internal/fault"
)

// ErrClosed: the reader or pool was closed.
var ErrClosed = errors.New("kernel log reader is closed")

// Error is what every live call here returns on failure. It matches
// fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported and ErrClosed
// through errors.Is.
type Error = fault.Error

// area begins every error of this package.
const area = "kernel log"

const device = "/dev/kmsg"

func fail(op string, err error) error {
	detail := ""
	if op == "open" && errors.Is(err, fs.ErrPermission) {
		detail = "kernel.dmesg_restrict asks for CAP_SYSLOG"
	}
	return fault.Wrap(area, op, device, err, detail)
}

// keep is how many idle readers a Pool keeps open.
const keep = 8

// Pool lends readers to concurrent ioctls. The zero Pool is ready.
type Pool struct {
	mu     sync.Mutex
	idle   []*Reader
	closed bool
}

// Get lends a reader and marks the present end of the log. Give it back with
// Put.
func (p *Pool) Get() (*Reader, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, fail("open", ErrClosed)
	}
	var r *Reader
	if n := len(p.idle); n > 0 {
		r, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	p.mu.Unlock()
	if r == nil {
		var err error
		if r, err = Open(); err != nil {
			return nil, err
		}
	}
	if err := r.Mark(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Put gives a reader back; nil does nothing.
func (p *Pool) Put(r *Reader) {
	if r == nil {
		return
	}
	p.mu.Lock()
	if !p.closed && len(p.idle) < keep {
		p.idle, r = append(p.idle, r), nil
	}
	p.mu.Unlock()
	if r != nil {
		r.Close()
	}
}

// Close closes the idle readers; lent ones are closed when they are put back.
func (p *Pool) Close() error {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	var err error
	for _, r := range idle {
		err = errors.Join(err, r.Close())
	}
	return err
}
