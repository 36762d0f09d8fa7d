// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// StatusReader asks many devices for their status again and again, as a
// monitor does, with memory of its own: once its buffers have grown to what
// the devices answer, a read allocates nothing.
//
// One goroutine uses it at a time. A read is a plain call into the kernel,
// which no context breaks off once it is there: where a target may sleep in
// its status, as a thin pool does that has to write its metadata first, set
// NoFlush, or use [Client.Status].
type StatusReader struct {
	c     *Client
	flags dmwire.Flags
	head  []byte // of each request, but for the size and the device
	buf   []byte
	sizes map[Dev]int // buffers of devices whose answer did not fit the first size
	list  []Status
	add   func(dmwire.SpecView) // kept, so that no read has to make one
}

// StatusReader makes a reader.
func (c *Client) StatusReader(opts StatusOptions) *StatusReader {
	r := &StatusReader{
		c: c, flags: opts.flags(), sizes: map[Dev]int{},
		head: make([]byte, dmwire.HeaderSize),
		buf:  make([]byte, dmwire.HeaderSize+statusBuffer),
	}
	h := c.header(dmwire.CmdTableStatus, 0)
	h.Flags |= r.flags | dmwire.PersistentDev
	if err := h.Put(r.head); err != nil {
		panic(err) // it has neither a name nor a uuid that could be too long
	}
	last := ""
	r.add = func(v dmwire.SpecView) {
		// Most devices are alike: the name of the target is copied when it is
		// another one than before.
		if last != string(v.Type) {
			last = string(v.Type)
		}
		r.list = append(r.list, Status{Sectors(v.Start), Sectors(v.Length), last, view(v.Params)})
	}
	return r
}

// view is b as a string that changes when b does.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Read asks the targets of a device for their state, as [Client.Status]
// does. The slice and the texts in it are valid until the next Read, and so
// are texts, such as the names of devices, in what they are parsed to:
// strings.Clone what is kept. Numbers stay.
func (r *StatusReader) Read(ctx context.Context, dev Dev) ([]Status, error) {
	if err := dev.validate(); err != nil {
		return nil, fail("status", dev, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fail("status", dev, err)
	}
	if err := r.c.begin(ctx); err != nil {
		return nil, fail("status", dev, err)
	}
	defer r.c.jobs.Done()
	size := dmwire.HeaderSize + statusBuffer
	if len(r.sizes) > 0 {
		size = max(size, r.sizes[dev])
	}
	for {
		full, err := r.once(dev, size)
		if err != nil {
			return nil, fail("status", dev, err)
		}
		if !full {
			return r.list, nil
		}
		if size >= dmwire.MaxBuffer {
			return nil, fail("status", dev, corrupt(fmt.Errorf("the answer does not fit %d bytes", size)))
		}
		size *= 2
		if len(r.sizes) >= maxAnswerSizes {
			clear(r.sizes)
		}
		r.sizes[dev] = size
	}
}

func (r *StatusReader) once(dev Dev, size int) (full bool, err error) {
	if len(r.buf) < size {
		r.buf = make([]byte, size)
	}
	buf := r.buf[:size]
	copy(buf, r.head)
	dmwire.PutTarget(buf, uint32(size), dmwire.MakeDev(dev.Major, dev.Minor))
	if r.c.trace == nil {
		err = r.c.t.Ioctl(dmwire.CmdTableStatus.Request(), buf)
	} else {
		err = r.c.traced(request{cmd: dmwire.CmdTableStatus}, buf)
	}
	if err != nil {
		if closedError(err) {
			return false, ErrClosed
		}
		return false, err
	}
	got, err := dmwire.ParseNumbers(buf)
	if err != nil {
		return false, corrupt(err)
	}
	if got.Flags&dmwire.BufferFull != 0 {
		return true, nil
	}
	r.list = r.list[:0]
	if r.flags&dmwire.QueryInactive != 0 && got.Flags&dmwire.InactivePresent == 0 {
		return false, nil
	}
	payload, err := got.Payload(buf)
	if err == nil {
		err = dmwire.ViewStatus(payload, got.TargetCount, r.add)
	}
	if err != nil {
		return false, errors.Join(ErrCorrupt, err)
	}
	return false, nil
}
