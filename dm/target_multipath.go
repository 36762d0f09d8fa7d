// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// QueueMode is how a [Multipath] hands I/O on. Of a device it can't change.
type QueueMode string

// The modes of drivers/md/dm-mpath.c.
const (
	// QueueRequests passes whole requests, with all the merging that the
	// paths' drivers allow; the paths must be disks of such a driver.
	QueueRequests QueueMode = ""
	// QueueBio passes each bio: any block device can be a path.
	QueueBio QueueMode = "bio"
	// QueueRq and QueueMq are older names of QueueRequests; they are printed
	// by Linux before 5.0 only.
	QueueRq QueueMode = "rq"
	QueueMq QueueMode = "mq"
)

// Path is a way to the storage of a [Multipath].
type Path struct {
	Device string
	// Args are of the selector. Where it takes a repeat count, the kernel
	// has made that 1 since Linux 4.6.
	Args []string
}

// PathGroup is a number of equal paths. I/O stays with one group until it has
// no path left.
type PathGroup struct {
	// Selector chooses among the paths:
	//	round-robin              path argument: [repeat count]
	//	queue-length             path argument: [repeat count]
	//	service-time             path arguments: [repeat count [relative throughput, 0 to 100]]
	//	historical-service-time  path argument: [repeat count]; its own: [base weight, below 1024 [threshold]]
	//	io-affinity              path argument: CPU mask in hex
	Selector     string
	SelectorArgs []string
	Paths        []Path // all with the same number of Args
}

// Multipath reaches the same storage over several paths, and fails over when
// one of them fails (drivers/md/dm-mpath.c). It must be alone in its table.
type Multipath struct {
	// Hold I/O when all paths have failed, for as long as it takes. While the
	// device is suspended with QueueBio, or with a flush, the kernel prints
	// the table without it: read the table of a device that runs.
	QueueIfNoPath           bool
	PGInitRetries           uint32         // of the initialisation of a group: 1 to 50, or 0 for none
	PGInitDelay             *time.Duration // before a retry, whole milliseconds up to a minute; nil for the kernel's 2 s
	RetainAttachedHWHandler bool           // the kernel sets it with QueueBio; version 1.15 of the target always does it and does not print it
	QueueMode               QueueMode

	// HWHandler is the name of the hardware handler that activates a group,
	// "alua" for one, and its arguments. QueueBio ignores it. The kernel
	// prints the name alone.
	HWHandler []string

	InitialGroup uint32 // from 1; 0 only without groups
	Groups       []PathGroup
}

// TargetType is "multipath".
func (Multipath) TargetType() string { return "multipath" }

// Params is "n feature… n handler… groups initial (selector n argument…
// paths n (device argument…)…)…".
func (m Multipath) Params() string {
	var feat []string
	if m.QueueIfNoPath {
		feat = append(feat, "queue_if_no_path")
	}
	if m.PGInitRetries > 0 {
		feat = append(feat, "pg_init_retries", num(m.PGInitRetries))
	}
	if m.PGInitDelay != nil {
		feat = append(feat, "pg_init_delay_msecs", num(*m.PGInitDelay/time.Millisecond))
	}
	if m.RetainAttachedHWHandler {
		feat = append(feat, "retain_attached_hw_handler")
	}
	if m.QueueMode != QueueRequests {
		feat = append(feat, "queue_mode", string(m.QueueMode))
	}
	args := countedWords(countedWords(nil, feat), m.HWHandler)
	args = append(args, num(len(m.Groups)), num(m.InitialGroup))
	for _, g := range m.Groups {
		args = countedWords(append(args, g.Selector), g.SelectorArgs)
		args = append(args, num(len(g.Paths)), num(g.pathArgs()))
		for _, p := range g.Paths {
			args = append(append(args, p.Device), p.Args...)
		}
	}
	return JoinArgs(args...)
}

// countedWords adds a group: its count, and its words.
func countedWords(args, group []string) []string {
	return append(append(args, num(len(group))), group...)
}

func (g PathGroup) pathArgs() int {
	if len(g.Paths) == 0 {
		return 0
	}
	return len(g.Paths[0].Args)
}

// Extents is the length from the start of every path.
func (m Multipath) Extents(length Sectors) []Extent {
	var ext []Extent
	for _, g := range m.Groups {
		for _, p := range g.Paths {
			ext = append(ext, Extent{p.Device, 0, length})
		}
	}
	return ext
}

const (
	maxPGInitRetries = 50
	maxPGInitDelay   = time.Minute
	maxMultipathArgs = 1024 // of groups, of paths in one, and of arguments of each kind
)

// Validate checks the features, the groups, and the arguments of the selectors
// that it knows.
func (m Multipath) Validate(Sectors) error {
	if m.PGInitRetries > maxPGInitRetries {
		return fmt.Errorf("pg_init_retries %d is more than %d", m.PGInitRetries, maxPGInitRetries)
	}
	if d := m.PGInitDelay; d != nil {
		if err := wholeUnits(*d, time.Millisecond); err != nil {
			return err
		}
		if *d > maxPGInitDelay {
			return fmt.Errorf("pg_init_delay_msecs %v is more than %v", *d, maxPGInitDelay)
		}
	}
	switch m.QueueMode {
	case QueueRequests, QueueBio, QueueRq, QueueMq:
	default:
		return fmt.Errorf("queue_mode %q", string(m.QueueMode))
	}
	if (m.InitialGroup == 0) != (len(m.Groups) == 0) {
		return fmt.Errorf("initial group %d of %d", m.InitialGroup, len(m.Groups))
	}
	if len(m.Groups) > maxMultipathArgs || len(m.HWHandler) > maxMultipathArgs || m.InitialGroup > maxMultipathArgs {
		return fmt.Errorf("more than %d groups or arguments", maxMultipathArgs)
	}
	if slices.Contains(m.HWHandler, "") {
		return errors.New("empty hardware handler argument")
	}
	for i, g := range m.Groups {
		if err := g.validate(); err != nil {
			return fmt.Errorf("group %d: %w", i+1, err)
		}
	}
	return nil
}

func (g PathGroup) validate() error {
	n := g.pathArgs()
	switch {
	case g.Selector == "":
		return errors.New("no selector")
	case len(g.Paths) == 0:
		return errors.New("no path")
	case len(g.Paths) > maxMultipathArgs || n > maxMultipathArgs || len(g.SelectorArgs) > maxMultipathArgs:
		return fmt.Errorf("more than %d paths or arguments", maxMultipathArgs)
	}
	if err := checkSelector(g.Selector, g.SelectorArgs); err != nil {
		return err
	}
	for _, p := range g.Paths {
		if err := needDevice(p.Device); err != nil {
			return err
		}
		if len(p.Args) != n {
			return fmt.Errorf("path %s has %d arguments, others have %d", p.Device, len(p.Args), n)
		}
		if err := checkPath(g.Selector, p.Args); err != nil {
			return fmt.Errorf("path %s: %w", p.Device, err)
		}
	}
	return nil
}

// checkSelector checks a selector's own arguments. Most take any and ignore
// them.
func checkSelector(selector string, args []string) error {
	if slices.Contains(args, "") {
		return errors.New("empty selector argument")
	}
	if selector == "historical-service-time" {
		return checkNumbers(selector, args, 1023, 1<<32-1)
	}
	return nil
}

func checkPath(selector string, args []string) error {
	if slices.Contains(args, "") {
		return errors.New("empty path argument")
	}
	switch selector {
	case "round-robin", "queue-length", "historical-service-time":
		return checkNumbers(selector, args, 1<<32-1)
	case "service-time":
		return checkNumbers(selector, args, 1<<32-1, 100)
	case "io-affinity":
		if len(args) != 1 {
			return errors.New("io-affinity needs a CPU mask and nothing else")
		}
	}
	return nil
}

// checkNumbers makes sure that there are not more arguments than limits, and
// none above its own.
func checkNumbers(selector string, args []string, limits ...uint64) error {
	if len(args) > len(limits) {
		return fmt.Errorf("%d arguments for %s", len(args), selector)
	}
	for i, a := range args {
		if n, err := strconv.ParseUint(a, 10, 64); err != nil || n > limits[i] {
			return fmt.Errorf("argument %q of %s is no number up to %d", a, selector, limits[i])
		}
	}
	return nil
}

func parseMultipath(params string) (Target, error) {
	r := readArgs(params)
	var m Multipath
	last := r.left() - 1 - r.group("features") // what is left behind the features
	for r.err == nil && r.left() > last {
		m.parseFeature(&r)
	}
	if r.err == nil && r.left() != last {
		r.fail("features", errors.New("the count cuts a feature apart"))
	}
	m.HWHandler = r.words("hardware handler", r.group("hardware handler arguments"))
	n := r.uint("groups", 32)
	m.InitialGroup = uint32(r.uint("initial group", 32))
	for i := uint64(0); i < n && r.err == nil; i++ {
		m.Groups = append(m.Groups, parsePathGroup(&r))
	}
	return m, r.end()
}

func (m *Multipath) parseFeature(r *argReader) {
	switch name := strings.ToLower(r.str("feature")); name {
	case "queue_if_no_path":
		m.QueueIfNoPath = true
	case "retain_attached_hw_handler":
		m.RetainAttachedHWHandler = true
	case "pg_init_retries":
		m.PGInitRetries = uint32(r.uint(name, 32))
		if r.err == nil && m.PGInitRetries == 0 {
			r.fail(name, errors.New("must be between 1 and 50"))
		}
	case "pg_init_delay_msecs":
		d := r.millis(name)
		m.PGInitDelay = &d
	case "queue_mode":
		m.QueueMode = QueueMode(strings.ToLower(r.str(name)))
		if m.QueueMode != QueueBio && m.QueueMode != QueueRq && m.QueueMode != QueueMq {
			r.fail(name, fmt.Errorf("%q is unknown", string(m.QueueMode)))
		}
	default:
		r.fail("feature", fmt.Errorf("%q is unknown", name))
	}
}

func parsePathGroup(r *argReader) PathGroup {
	g := PathGroup{Selector: r.str("selector")}
	g.SelectorArgs = r.words("selector argument", r.group("selector arguments"))
	paths := r.uint("paths", 32)
	n := r.uint("path arguments", 32)
	if r.err == nil && paths > uint64(r.left())/(1+n) {
		r.fail("paths", fmt.Errorf("%d with %d arguments each announced, %d words given", paths, n, r.left()))
	}
	for i := uint64(0); i < paths && r.err == nil; i++ {
		g.Paths = append(g.Paths, Path{r.device("path"), r.words("path argument", int(n))})
	}
	return g
}

// words reads n arguments; nil for none.
func (r *argReader) words(what string, n int) []string {
	var list []string
	for i := 0; i < n && r.err == nil; i++ {
		list = append(list, r.str(what))
	}
	return list
}
