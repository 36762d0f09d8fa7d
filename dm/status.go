// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// Status is what the target of one segment reports.
type Status struct {
	Start, Length Sectors
	Type          string // name of the target
	Text          string // as the kernel printed it
}

// String prints the segment as dmsetup status does.
func (s Status) String() string {
	return fmt.Sprintf("%d %d %s %s", uint64(s.Start), uint64(s.Length), s.Type, s.Text)
}

// Typed is the parsed text: a [StripedStatus], a [SnapshotStatus], and so on,
// by value. It is nil for a target that reports nothing, such as linear. The
// error matches errors.ErrUnsupported for a target that the package does not
// know, and ErrCorrupt when the text is not what it should be.
func (s Status) Typed() (fmt.Stringer, error) {
	b, ok := builtin[s.Type]
	switch {
	case !ok:
		return nil, &Error{Op: "status", Object: s.Type, Detail: "no parser for this target", Err: errors.ErrUnsupported}
	case b.status == nil:
		return nil, nil
	}
	return b.status(s.Text)
}

// StatusParser makes a value of a target's status text.
type StatusParser func(text string) (fmt.Stringer, error)

// StatusParsers maps the names of targets to the parsers of their status.
type StatusParsers map[string]StatusParser

// Typed is [Status.Typed] with the parsers of [WithStatus] before those of
// this package.
func (c *Client) Typed(s Status) (fmt.Stringer, error) {
	if p := c.statuses[s.Type]; p != nil {
		return p(s.Text)
	}
	return s.Typed()
}

// StatusOptions change Status and Table.
type StatusOptions struct {
	Inactive bool // ask about the table that is not live yet
	// NoFlush keeps thin, cache and clone from committing their metadata
	// just to bring counters up to date; the answer may be a little old.
	NoFlush bool
}

// Status asks the targets of a device for their state (DM_TABLE_STATUS). A
// device without a table gives none.
func (c *Client) Status(ctx context.Context, ref Ref, opts StatusOptions) ([]Status, error) {
	return run(ctx, c, "status", ref, func(context.Context) ([]Status, error) {
		specs, err := c.tableStatus(ref, opts.flags(), false)
		return statusOf(specs), err
	})
}

func statusOf(specs []dmwire.Spec) []Status {
	var list []Status
	for _, s := range specs {
		list = append(list, Status{Sectors(s.Start), Sectors(s.Length), s.Type, s.Params})
	}
	return list
}

// Table asks for the table of a device (DM_TABLE_STATUS with
// DM_STATUS_TABLE_FLAG), the inactive one if opts says so; nil when there is
// none. Devices are printed by the kernel as major:minor. What a parser does
// not understand, because the kernel is newer, comes as [Raw].
//
// The table of a crypt target holds its key: Params and Format give it,
// String does not.
func (c *Client) Table(ctx context.Context, ref Ref, opts StatusOptions) (Table, error) {
	return run(ctx, c, "table", ref, func(context.Context) (Table, error) {
		specs, err := c.tableStatus(ref, opts.flags()|dmwire.StatusTable, true)
		return tableOf(specs, c.parsers), err
	})
}

// Measure asks the targets for the text that the kernel's integrity
// measurement would log (DM_IMA_MEASUREMENT_FLAG, Linux 5.15). Targets
// without one give an empty text.
func (c *Client) Measure(ctx context.Context, ref Ref) ([]Status, error) {
	if !c.version.AtLeast(4, 46) {
		return nil, fail("measure", ref, &Error{Detail: "needs interface 4.46, the kernel has " + versionText(c.version), Err: errors.ErrUnsupported})
	}
	return run(ctx, c, "measure", ref, func(context.Context) ([]Status, error) {
		specs, err := c.tableStatus(ref, dmwire.IMAMeasurement, false)
		return statusOf(specs), err
	})
}

func (o StatusOptions) flags() (f dmwire.Flags) {
	if o.Inactive {
		f |= dmwire.QueryInactive
	}
	if o.NoFlush {
		f |= dmwire.NoFlush
	}
	return f
}

func (c *Client) tableStatus(ref Ref, flags dmwire.Flags, secret bool) (specs []dmwire.Spec, err error) {
	r := request{cmd: dmwire.CmdTableStatus, ref: ref, flags: flags, reply: true, secret: secret}
	err = c.ioctl(r, func(h *dmwire.Header, payload []byte) error {
		// For the inactive table too the kernel counts the segments of the
		// table it was asked for, and none when there is none.
		if flags&dmwire.QueryInactive != 0 && h.Flags&dmwire.InactivePresent == 0 {
			specs = nil
			return nil
		}
		specs, err = dmwire.ParseStatus(payload, h.TargetCount)
		return err
	})
	return specs, err
}

// StripedStatus is the status of a striped target.
type StripedStatus struct {
	Devices []string // major:minor of each leg
	Failed  []bool   // whether the leg had an I/O error; such a leg is still used
}

// ParseStripedStatus reads "2 1:0 1:1 1 AA".
func ParseStripedStatus(text string) (StripedStatus, error) {
	r := readArgs(text)
	var s StripedStatus
	n := int(r.uint("stripes", 16))
	for range min(n, r.left()) {
		s.Devices = append(s.Devices, r.device("device"))
	}
	if groups := r.uint("groups", 32); r.err == nil && groups != 1 {
		r.fail("groups", fmt.Errorf("%d, want 1", groups))
	}
	health := r.str("health")
	if r.err == nil && len(health) != n {
		r.fail("health", fmt.Errorf("%q for %d stripes", health, n))
	}
	for _, h := range health {
		if r.err == nil && h != 'A' && h != 'D' {
			r.fail("health", fmt.Errorf("%q", health))
		}
		s.Failed = append(s.Failed, h == 'D')
	}
	if err := r.end(); err != nil {
		return StripedStatus{}, badStatus("striped", err)
	}
	return s, nil
}

// String is the kernel's text.
func (s StripedStatus) String() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(len(s.Devices)))
	for _, d := range s.Devices {
		b.WriteString(" " + d)
	}
	b.WriteString(" 1 ")
	for _, f := range s.Failed {
		if f {
			b.WriteByte('D')
		} else {
			b.WriteByte('A')
		}
	}
	return b.String()
}

// DelayStatus is the number of requests that a delay target holds back.
type DelayStatus struct{ Reads, Writes, Flushes uint32 }

// ParseDelayStatus reads "0 0 0".
func ParseDelayStatus(text string) (DelayStatus, error) {
	r := readArgs(text)
	s := DelayStatus{uint32(r.uint("reads", 32)), uint32(r.uint("writes", 32)), uint32(r.uint("flushes", 32))}
	if err := r.end(); err != nil {
		return DelayStatus{}, badStatus("delay", err)
	}
	return s, nil
}

// String is the kernel's text.
func (s DelayStatus) String() string {
	return num(s.Reads) + " " + num(s.Writes) + " " + num(s.Flushes)
}

// SnapshotState is what a snapshot says besides its numbers.
type SnapshotState string

// The states of a snapshot (snapshot_status in drivers/md/dm-snap.c).
const (
	SnapshotValid       SnapshotState = ""             // numbers follow
	SnapshotInvalid     SnapshotState = "Invalid"      // the COW device is full or failed; its data are lost
	SnapshotOverflow    SnapshotState = "Overflow"     // the COW device is full, store PO
	SnapshotMergeFailed SnapshotState = "Merge failed" // an I/O error stopped the merge
	SnapshotUnknown     SnapshotState = "Unknown"      // the store has no numbers
)

// SnapshotStatus is the status of a snapshot, or of a merge.
type SnapshotStatus struct {
	State    SnapshotState
	Used     Sectors // of the COW device, metadata included
	Total    Sectors
	Metadata Sectors
}

// Merged reports whether a snapshot-merge has nothing left to write back.
func (s SnapshotStatus) Merged() bool {
	return s.State == SnapshotValid && s.Used == s.Metadata
}

// ParseSnapshotStatus reads "16/2048 16", or one of the states.
func ParseSnapshotStatus(text string) (SnapshotStatus, error) {
	text = strings.TrimSpace(text)
	switch st := SnapshotState(text); st {
	case SnapshotInvalid, SnapshotOverflow, SnapshotMergeFailed, SnapshotUnknown:
		return SnapshotStatus{State: st}, nil
	}
	r := readArgs(text)
	used, total := r.fraction("used/total")
	s := SnapshotStatus{Used: Sectors(used), Total: Sectors(total), Metadata: r.sectors("metadata")}
	if err := r.end(); err != nil {
		return SnapshotStatus{}, badStatus("snapshot", err)
	}
	return s, nil
}

// String is the kernel's text.
func (s SnapshotStatus) String() string {
	if s.State != SnapshotValid {
		return string(s.State)
	}
	return num(s.Used) + "/" + num(s.Total) + " " + num(s.Metadata)
}

func badStatus(target string, err error) error {
	return &Error{Op: "status", Object: target, Err: corrupt(err)}
}
