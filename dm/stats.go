// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// The statistics of drivers/md/dm-stats.c: any device counts the I/O in
// regions of it that somebody asked for, each cut into areas of one length.
// A region lives until it is deleted or its device goes; a swap of tables
// does not touch it.

// StatsOptions say what a new region is. The zero value is the whole device
// as one area.
type StatsOptions struct {
	// Start and Length are the range, which may reach beyond the device.
	// With both 0 it is the device as large as it is now.
	Start, Length Sectors
	// Step is the length of an area, or Areas says into how many the range
	// is cut: one of them, or none for a single area. Where the range is
	// shorter than Areas sectors there are fewer, of one sector each. The
	// last area may be shorter than the others.
	Step  Sectors
	Areas int
	// Precise counts time in nanoseconds, which costs a look at the clock
	// for each I/O. Otherwise the kernel counts its ticks, 1 to 10 ms, and
	// tells milliseconds.
	Precise bool
	// Histogram has the times at which an I/O falls into the next bin, in
	// rising order: one bound makes two bins. Whole milliseconds unless
	// Precise.
	Histogram []time.Duration
	// Program and Aux are kept by the kernel with the region, so that a
	// program finds its own: its name, and what else it wants to know. A
	// Program has no blanks, since nobody could tell in the list where it
	// ends. Neither may be "-", which is how the kernel prints an empty one.
	Program, Aux string
}

// Validate checks what the kernel would refuse, and what it would take and
// then list in a way that can't be read.
func (o StatsOptions) Validate() error {
	switch {
	case o.Length == 0 && o.Start != 0:
		return errors.New("a start without a length")
	case o.Start+o.Length < o.Start:
		return errors.New("the range ends beyond 2^64 sectors")
	case o.Areas < 0 || int64(o.Areas) > math.MaxUint32:
		return fmt.Errorf("%d areas", o.Areas)
	case o.Areas != 0 && o.Step != 0:
		return errors.New("both a step and a number of areas")
	}
	unit := statsUnit(o.Precise)
	last := time.Duration(0)
	for _, b := range o.Histogram {
		if b <= last {
			return fmt.Errorf("histogram: %v is not above %v", b, last)
		}
		if b%unit != 0 {
			return fmt.Errorf("histogram: %v is not in whole milliseconds, as it must be without precise timestamps", b)
		}
		last = b
	}
	if strings.IndexByte(o.Program, ' ') >= 0 {
		return fmt.Errorf("program %q has a blank in it", o.Program)
	}
	if err := statsText("program", o.Program); err != nil {
		return err
	}
	return validAux(o.Aux)
}

// validAux refuses what the list of regions would not give back.
func validAux(aux string) error {
	if err := statsText("aux data", aux); err != nil {
		return err
	}
	if rest, _, _ := cutStatsOptions(aux); rest != aux {
		return fmt.Errorf("aux data %q ends like the options of a region", aux)
	}
	return nil
}

func statsText(what, text string) error {
	if text == "-" {
		return fmt.Errorf("%s \"-\" stands for none", what)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%s %q has a control character in it", what, text)
	}
	return nil
}

// message is the text of @stats_create. The count of options is always
// there: without it a program that is a number would be taken for one.
func (o StatsOptions) message() string {
	var options []string
	if o.Precise {
		options = append(options, "precise_timestamps")
	}
	if len(o.Histogram) > 0 {
		options = append(options, "histogram:"+boundsText(o.Histogram, statsUnit(o.Precise)))
	}
	args := []string{"@stats_create", "-", "/" + num(max(o.Areas, 1)), num(len(options))}
	if o.Length > 0 {
		args[1] = num(o.Start) + "+" + num(o.Length)
	}
	if o.Step > 0 {
		args[2] = num(o.Step)
	}
	args = append(args, options...)
	return JoinArgs(append(args, orDash(o.Program), orDash(o.Aux))...)
}

// StatsCreate makes a region (@stats_create) and returns it as the kernel
// has it. The device stands still for a moment, so that the region starts
// with no I/O in flight: while I/O hangs, so does this call, and a context
// that ends gives ErrPending; the region is deleted then. The kernel answers
// ENOMEM when the statistics of all devices would take more than a quarter
// of its memory, where an area takes some 120 bytes, and 100 more for each CPU.
// Since Linux 6.8 more than 2^23 areas, or 2^27 bins, are EOVERFLOW.
func (c *Client) StatsCreate(ctx context.Context, ref Ref, o StatsOptions) (StatsRegion, error) {
	const op = "stats create"
	if err := o.Validate(); err != nil {
		return StatsRegion{}, fail(op, ref, &Error{Code: einval, Err: err})
	}
	return run(ctx, c, op, ref, func(ctx context.Context) (StatsRegion, error) {
		answer, err := c.statsMessage(ref, o.message())
		if err != nil {
			return StatsRegion{}, err
		}
		id, err := strconv.ParseUint(strings.TrimSpace(answer), 10, 31)
		if err != nil {
			return StatsRegion{}, corrupt(fmt.Errorf("%q is no number of a region", answer))
		}
		r, err := c.statsFind(ref, o.Program, int(id))
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			undo := fail("stats delete", ref, c.statsDelete(ref, int(id)))
			if undo != nil && !errors.Is(undo, fs.ErrNotExist) {
				err = detail(fail("", nil, err), "region "+num(id)+" could not be deleted again: "+undo.Error())
			}
			return StatsRegion{}, err
		}
		return r, nil
	})
}

// StatsList lists the regions of a device by their number (@stats_list):
// those of one program, or all when program is empty.
func (c *Client) StatsList(ctx context.Context, ref Ref, program string) ([]StatsRegion, error) {
	return run(ctx, c, "stats list", ref, func(context.Context) ([]StatsRegion, error) {
		return c.statsList(ref, program)
	})
}

func (c *Client) statsList(ref Ref, program string) ([]StatsRegion, error) {
	text := "@stats_list"
	if program != "" {
		text = JoinArgs(text, program)
	}
	answer, err := c.statsMessage(ref, text)
	if err != nil {
		return nil, err
	}
	return ParseStatsList(answer)
}

func (c *Client) statsFind(ref Ref, program string, id int) (StatsRegion, error) {
	list, err := c.statsList(ref, program)
	if err != nil {
		return StatsRegion{}, err
	}
	i := slices.IndexFunc(list, func(r StatsRegion) bool { return r.ID == id })
	if i < 0 {
		return StatsRegion{}, &Error{Code: enoent, Detail: "region " + num(id) + " was deleted by somebody else"}
	}
	return list[i], nil
}

// StatsPrintOptions narrow StatsPrint; the zero value prints all areas.
type StatsPrintOptions struct {
	First int // number of the first area
	Count int // how many; 0 for all the rest
	// Clear sets the counters of what is printed back, so that the next
	// print shows what came since. I/O between the two is not lost.
	Clear bool
}

// statsRoom is the size of the answer that a long print is cut to. The kernel
// holds the statistics of the device while it fills one.
const statsRoom = 64 << 10

// StatsPrint reads the counters of a region (@stats_print, or with Clear
// @stats_print_clear). The region is one that StatsCreate or StatsList gave:
// from it is known in what unit the kernel prints time, and how long an answer
// can get. It does not block, and it does not wait for I/O.
//
// Many areas are read in several answers, each with a buffer that must be
// large enough, so that none is ever asked for twice: with Clear, nothing
// that was counted is lost or comes twice. When a later part fails, or the
// context ends, the areas so far come with the error, because their counters
// are already cleared. Areas are not read at one moment then.
//
// The error matches fs.ErrNotExist when there is no such region, and when
// the number now belongs to another one.
func (c *Client) StatsPrint(ctx context.Context, ref Ref, r StatsRegion, o StatsPrintOptions) ([]StatsArea, error) {
	const op = "stats print"
	if err := c.quick(ctx); err != nil {
		return nil, fail(op, ref, err)
	}
	defer c.jobs.Done()
	switch {
	case o.First < 0 || o.Count < 0 || r.ID < 0:
		return nil, fail(op, ref, &Error{Code: einval, Detail: "negative number"})
	case r.Step == 0:
		return nil, fail(op, ref, &Error{Code: einval, Detail: "the region is none that StatsCreate or StatsList gave"})
	}
	end := r.Areas()
	if o.Count > 0 && o.Count < end-o.First {
		end = o.First + o.Count
	}
	line := r.longestLine()
	// The kernel takes an answer for cut when it fills all but one byte.
	slice := max((statsRoom-2)/line, 1)
	var areas []StatsArea
	for at := o.First; at < end; at += slice {
		if err := ctx.Err(); err != nil {
			return areas, fail(op, ref, err)
		}
		n := min(slice, end-at)
		verb := "@stats_print "
		if o.Clear {
			verb = "@stats_print_clear "
		}
		answer, err := c.statsSlice(ref, verb+num(r.ID)+" "+num(at)+" "+num(n), n*line+2)
		if err == nil {
			if areas == nil {
				areas = make([]StatsArea, 0, min(end-at, 1<<16))
			}
			areas, err = r.appendAreas(areas, at, n, answer)
		}
		if err != nil {
			return areas, fail(op, ref, err)
		}
	}
	return areas, nil
}

// StatsClear sets the counters of a region to zero (@stats_clear); the number
// of I/Os in flight stays.
func (c *Client) StatsClear(ctx context.Context, ref Ref, r StatsRegion) error {
	return c.statsDo(ctx, "stats clear", ref, "@stats_clear", r)
}

// StatsDelete deletes a region (@stats_delete).
func (c *Client) StatsDelete(ctx context.Context, ref Ref, r StatsRegion) error {
	return c.statsDo(ctx, "stats delete", ref, "@stats_delete", r)
}

// StatsSetAux replaces the aux data of a region (@stats_set_aux).
func (c *Client) StatsSetAux(ctx context.Context, ref Ref, r StatsRegion, aux string) error {
	if err := validAux(aux); err != nil {
		return fail("stats set aux", ref, &Error{Code: einval, Err: err})
	}
	return c.statsDo(ctx, "stats set aux", ref, "@stats_set_aux", r, orDash(aux))
}

func (c *Client) statsDo(ctx context.Context, op string, ref Ref, verb string, r StatsRegion, more ...string) error {
	if r.ID < 0 {
		return fail(op, ref, &Error{Code: einval, Detail: "negative number"})
	}
	text := JoinArgs(append([]string{verb, num(r.ID)}, more...)...)
	return run0(ctx, c, op, ref, func(context.Context) error {
		_, err := c.statsMessage(ref, text)
		return err
	})
}

func (c *Client) statsDelete(ref Ref, id int) error {
	_, err := c.statsMessage(ref, "@stats_delete "+num(id))
	return err
}

// statsMessage sends a message that may be sent again when its answer does
// not fit. That holds for @stats_create too: the kernel looks at the buffer
// before it makes the region.
func (c *Client) statsMessage(ref Ref, text string) (answer string, err error) {
	r, decode := statsRequest(ref, text, &answer)
	err = c.explained(r, decode)
	return answer, noRegion(err)
}

// statsSlice sends a message that must not be sent again.
func (c *Client) statsSlice(ref Ref, text string, room int) (answer string, err error) {
	r, decode := statsRequest(ref, text, &answer)
	r.room, r.once = room, true
	err = c.ioctl(r, decode)
	return answer, noRegion(err)
}

// noRegion says what ENOENT means here.
func noRegion(err error) error {
	if e, ok := fail("", nil, err).(*Error); ok && e.Code == enoent && e.Detail == "" {
		return &Error{Code: enoent, Detail: "no such region"}
	}
	return err
}

func statsRequest(ref Ref, text string, answer *string) (request, func(*dmwire.Header, []byte) error) {
	r := request{
		cmd: dmwire.CmdMessage, ref: ref, reply: true, size: dmwire.MessageSize(text),
		put: func(b []byte) error { dmwire.PutMessage(b, 0, text); return nil },
	}
	return r, func(h *dmwire.Header, payload []byte) (err error) {
		if h.Flags&dmwire.DataOut != 0 {
			*answer, err = dmwire.ParseString(payload)
		}
		return err
	}
}
