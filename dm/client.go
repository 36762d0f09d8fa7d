// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// Version is a version of the device-mapper interface or of a target.
type Version = dmwire.Version

// minVersion is the first interface whose event polling can be relied on:
// Linux 4.14.
var minVersion = Version{Major: 4, Minor: 37}

// Client is a handle on device-mapper. It holds one descriptor of the
// control node, is safe for use by many goroutines, and calls on different
// devices run side by side.
type Client struct {
	t       Transport
	host    host // udev, nodes, kernel log, run file; absent parts do nothing
	version Version
	parsers Parsers
	// statuses are the parsers of WithStatus.
	statuses StatusParsers
	log      *slog.Logger
	quiet    *quietLog
	trace    func(Trace)

	sizes  answerSizes // buffers that answers needed
	least  uint32      // first size of every buffer if not 0: tests set libdevmapper's
	events poller
	guards atomic.Uint64 // numbers them in the run file, which is this client's alone

	mu     sync.Mutex
	closed bool
	jobs   sync.WaitGroup // calls in flight, those given up by their callers too
}

type config struct {
	transport Transport
	dev       string
	root      string
	runDir    string
	parsers   Parsers
	statuses  StatusParsers
	log       *slog.Logger
	noUdev    bool
	trace     func(Trace)
}

// Option changes how Open makes a Client.
type Option func(*config)

// WithTransport uses t in place of the kernel's control node. Nodes, udev
// and the run file are left alone then: they belong to the kernel's devices.
func WithTransport(t Transport) Option { return func(c *config) { c.transport = t } }

// WithLogger has the client tell what it does beyond what it was asked:
// retries, roll-backs, recovery. Nothing is logged while WhileSuspended holds
// devices; such lines come when they run again. Without it nothing is
// logged at all.
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.log = l } }

// WithTargets brings parsers for targets that this package does not know,
// or better ones: dmraid does. It may be given more than once.
func WithTargets(p Parsers) Option {
	return func(c *config) {
		for name, parse := range p {
			c.parsers[name] = parse
		}
	}
}

// WithStatus brings parsers for the status of targets that this package does
// not know, for [Client.Typed]: dmraid does. It may be given more than once.
func WithStatus(p StatusParsers) Option {
	return func(c *config) {
		for name, parse := range p {
			c.statuses[name] = parse
		}
	}
}

// WithDevDir uses another folder than /dev for the control node and for
// mapper/NAME: a container that sees the host's /dev elsewhere.
func WithDevDir(dir string) Option { return func(c *config) { c.dev = dir } }

// WithRunDir uses another folder than /run/linuxblock for the list of what a
// kill at this moment would leave behind, see [Recover]. It must be on a
// file system that no device of this client carries. The empty string keeps
// no list.
func WithRunDir(dir string) Option { return func(c *config) { c.runDir = dir } }

// WithoutUdevSync does not wait for udev, and makes no nodes either where
// udev does not run.
func WithoutUdevSync() Option { return func(c *config) { c.noUdev = true } }

// DefaultRunDir is where the run file is kept.
const DefaultRunDir = "/run/linuxblock"

// Open opens the control node and asks the kernel for its version. The error
// matches errors.ErrUnsupported where there is no device-mapper, or one
// older than 4.37 (Linux 4.14), and fs.ErrPermission without CAP_SYS_ADMIN.
func Open(ctx context.Context, opts ...Option) (*Client, error) {
	cfg := config{dev: "/dev", root: "/", runDir: DefaultRunDir, parsers: Parsers{}, statuses: StatusParsers{}}
	for _, o := range opts {
		o(&cfg)
	}
	if err := ctx.Err(); err != nil {
		return nil, fail("open", nil, err)
	}
	c := &Client{t: cfg.transport, parsers: cfg.parsers, statuses: cfg.statuses, trace: cfg.trace}
	if cfg.log == nil {
		cfg.log = slog.New(slog.DiscardHandler)
	}
	c.quiet = &quietLog{}
	c.log = slog.New(&quietHandler{next: cfg.log.Handler(), log: c.quiet})
	if c.t == nil {
		t, err := openControl(cfg.dev)
		if err != nil {
			return nil, fail("open", nil, err)
		}
		c.t = t
		realHost(&c.host, &cfg)
	} else if s, ok := c.t.(System); ok {
		c.host.system = s
	}
	c.events.init(c)
	if _, err := c.askVersion("open"); err != nil {
		c.t.Close()
		return nil, err
	}
	return c, nil
}

// askVersion issues DM_VERSION and keeps the answer.
func (c *Client) askVersion(op string) (Version, error) {
	buf := make([]byte, dmwire.HeaderSize)
	h := c.header(dmwire.CmdVersion, uint32(len(buf)))
	if err := h.Put(buf); err != nil {
		return Version{}, fail(op, nil, err)
	}
	if err := c.traced(request{cmd: dmwire.CmdVersion}, buf); err != nil {
		return Version{}, fail(op, nil, err)
	}
	got, err := dmwire.ParseHeader(buf)
	if err != nil {
		return Version{}, fail(op, nil, corrupt(err))
	}
	v := got.Version
	if v.Major != minVersion.Major || !v.AtLeast(minVersion.Major, minVersion.Minor) {
		return v, &Error{Op: op, Detail: "device-mapper interface " + versionText(v) + ", need 4.37 (Linux 4.14)", Err: errors.ErrUnsupported}
	}
	c.version = v
	return v, nil
}

func versionText(v Version) string {
	return num(v.Major) + "." + num(v.Minor) + "." + num(v.Patch)
}

// Version is the interface version of the driver, as told when the client
// was opened: 4.47.0 for Linux 6.1.
func (c *Client) Version() Version { return c.version }

// Close ends all event streams, waits for calls in flight, also those that
// their callers gave up, and closes the control node. It may be called
// twice. Devices that were suspended by [Client.Suspend] stay so.
func (c *Client) Close() error {
	c.mu.Lock()
	already := c.closed
	c.closed = true
	c.mu.Unlock()
	c.events.close()
	c.jobs.Wait()
	err := c.t.Close()
	if already {
		return nil
	}
	if err2 := c.host.close(); err == nil {
		err = err2
	}
	return fail("close", nil, err)
}

// begin counts a call in, so that Close waits for it.
func (c *Client) begin(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	// What a guard does while it holds devices is part of a call that Close
	// waits for.
	if c.closed && ctx.Value(guardKey{}) != c {
		return ErrClosed
	}
	c.jobs.Add(1)
	return nil
}

// patience is how long a cancelled call waits for its own roll-back before
// it answers ErrPending.
const patience = 60 * time.Millisecond

// run does fn as a call of this client. fn may block in the kernel, where
// no context reaches; so it runs in a goroutine of its own when ctx can be
// cancelled. fn looks at ctx between its steps and undoes what it did.
func run[T any](ctx context.Context, c *Client, op string, object any, fn func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, fail(op, object, err)
	}
	if err := c.begin(ctx); err != nil {
		return zero, fail(op, object, err)
	}
	if ctx.Done() == nil {
		defer c.jobs.Done()
		v, err := fn(ctx)
		return v, fail(op, object, err)
	}
	var v T
	var err error
	done := make(chan struct{}) // closed behind v and err
	go func() {
		defer c.jobs.Done()
		defer close(done)
		v, err = fn(ctx)
	}()
	if !patiently(ctx, done) {
		return zero, pending(ctx, op, object)
	}
	return v, fail(op, object, err)
}

// patiently waits for the end of a call, and when ctx is done a little longer,
// so that a call that only has to take back what it did can say so.
func patiently(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	}
	select {
	case <-done: // both were ready
		return true
	default:
		return false
	}
}

func pending(ctx context.Context, op string, object any) error {
	return &Error{Op: op, Object: objectText(object), Err: errors.Join(ErrPending, ctx.Err())}
}

// run0 is run without a result.
func run0(ctx context.Context, c *Client, op string, object any, fn func(context.Context) error) error {
	_, err := run(ctx, c, op, object, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, fn(ctx)
	})
	return err
}

func corrupt(err error) error { return errors.Join(ErrCorrupt, err) }

// closedError says whether a transport answered that it was closed.
func closedError(err error) bool { return errors.Is(err, os.ErrClosed) }
