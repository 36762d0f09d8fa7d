// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// The first buffer for answers; what a command needed is remembered. The
// kernel copies the whole buffer in, so a needlessly large one costs.
const (
	statusBuffer = 2 << 10
	listBuffer   = 64 << 10
)

// request is one ioctl to be made.
type request struct {
	cmd     dmwire.Command
	ref     Ref // nil for calls about no device
	flags   dmwire.Flags
	eventNr uint32
	targets uint32
	name    string // instead of ref: where the name field is no reference
	uuid    string
	dev     Dev // beside a name, for DEV_CREATE

	put     func(payload []byte) error // writes the payload
	size    int                        // bytes that put needs
	reply   bool                       // the answer has a payload of unknown size
	room    int                        // bytes that the answer takes at most, where that is known
	once    bool                       // must not run again for a larger buffer: room is enough
	secret  bool                       // the answer may hold a key
	keys    []string                   // in what is sent
	retries bool                       // repeat when a signal interrupts
}

// bufferPool holds buffers between calls; each is zeroed before it goes in.
var bufferPool = sync.Pool{New: func() any { b := make([]byte, dmwire.HeaderSize+statusBuffer); return &b }}

func (c *Client) header(cmd dmwire.Command, size uint32) dmwire.Header {
	return dmwire.Header{
		// The kernel accepts any minor up to its own. libdevmapper sends
		// for each command the version that brought it.
		Version:   cmd.Since(),
		DataSize:  size,
		DataStart: dmwire.HeaderSize,
		Flags:     dmwire.Exists,
	}
}

// ioctl makes the call. decode gets the answer; it must not keep payload.
func (c *Client) ioctl(r request, decode func(h *dmwire.Header, payload []byte) error) error {
	if since := r.cmd.Since(); !c.version.AtLeast(since.Major, since.Minor) {
		return &Error{Detail: fmt.Sprintf("%v needs interface %d.%d, the kernel has %s", r.cmd, since.Major, since.Minor, versionText(c.version)), Err: errors.ErrUnsupported}
	}
	size := c.bufferSize(r)
	for {
		full, err := c.ioctlOnce(r, size, decode)
		if err == syscall.Errno(eintr) && r.retries {
			continue
		}
		if err != nil || !full {
			return err
		}
		if r.once || size >= dmwire.MaxBuffer {
			return corrupt(fmt.Errorf("%v: the answer does not fit %d bytes", r.cmd, size))
		}
		size = min(size*2, dmwire.MaxBuffer)
		c.sizes.set(r, size)
	}
}

func (c *Client) bufferSize(r request) int {
	size := dmwire.HeaderSize
	switch {
	case c.least > 0:
		size = int(c.least)
	case r.cmd == dmwire.CmdListDevices:
		size += listBuffer
	case r.reply:
		size += statusBuffer
	}
	if r.reply {
		size = max(size, c.sizes.get(r))
	}
	return max(size, dmwire.HeaderSize+r.size, dmwire.HeaderSize+r.room)
}

// answerSizes remembers the buffers that were found too small, for each
// command and device: one device with a long table must not make the calls
// for all others dear, since the kernel copies the whole buffer in.
type answerSizes struct {
	mu    sync.RWMutex
	sizes map[answerKey]int
}

type answerKey struct {
	cmd dmwire.Command
	ref string // empty for the lists
}

func keyOf(r request) answerKey { return answerKey{r.cmd, objectText(r.ref)} }

// maxAnswerSizes bounds the memory for devices that have gone.
const maxAnswerSizes = 4096

func (a *answerSizes) get(r request) int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.sizes[keyOf(r)]
}

func (a *answerSizes) set(r request, size int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sizes == nil || len(a.sizes) >= maxAnswerSizes {
		a.sizes = map[answerKey]int{}
	}
	key := keyOf(r)
	a.sizes[key] = max(a.sizes[key], size)
}

// ioctlOnce makes the call with a header of its own: one that the kernel
// has written to must not be sent again, it holds flags of the answer.
func (c *Client) ioctlOnce(r request, size int, decode func(*dmwire.Header, []byte) error) (full bool, err error) {
	buf := takeBuffer(size)
	defer giveBuffer(buf)
	h := c.header(r.cmd, uint32(size))
	h.Flags |= r.flags
	h.EventNr = r.eventNr
	h.TargetCount = r.targets
	if r.secret || len(r.keys) > 0 {
		h.Flags |= dmwire.SecureData
	}
	if r.ref != nil {
		if err := r.ref.identify(&h); err != nil {
			return false, err
		}
	}
	if r.name != "" {
		h.Name = r.name
	}
	if r.uuid != "" {
		h.UUID = r.uuid
	}
	if !r.dev.IsZero() {
		h.Dev = dmwire.MakeDev(r.dev.Major, r.dev.Minor)
	}
	if err := h.Put(*buf); err != nil {
		return false, err
	}
	if r.put != nil {
		if err := r.put((*buf)[dmwire.HeaderSize:]); err != nil {
			return false, err
		}
	}
	if err := c.traced(r, *buf); err != nil {
		if closedError(err) {
			return false, ErrClosed
		}
		return false, err
	}
	got, err := dmwire.ParseHeader(*buf)
	if err != nil {
		return false, corrupt(err)
	}
	if got.Flags&dmwire.BufferFull != 0 && (r.reply || r.cmd == dmwire.CmdMessage) {
		return true, nil
	}
	payload, err := got.Payload(*buf)
	if err != nil {
		return false, corrupt(err)
	}
	if decode == nil {
		return false, nil
	}
	if err := decode(&got, payload); err != nil {
		return false, corrupt(err)
	}
	return false, nil
}

func takeBuffer(size int) *[]byte {
	b := bufferPool.Get().(*[]byte)
	if cap(*b) < size {
		bufferPool.Put(b)
		n := make([]byte, size)
		return &n
	}
	*b = (*b)[:size]
	return b
}

// giveBuffer zeroes the buffer, which may have held a key, and keeps it
// unless it is large.
func giveBuffer(b *[]byte) {
	clear(*b)
	if cap(*b) <= 256<<10 {
		bufferPool.Put(b)
	}
}
