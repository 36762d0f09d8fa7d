// SPDX-License-Identifier: MIT

package dm_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// stuck is a driver in which one command hangs until it is let go.
type stuck struct {
	k       *dmtest.Kernel
	reached chan struct{}
	letGo   chan struct{}
	armed   atomic.Bool
}

func newStuck(t *testing.T, command string) (*stuck, *dm.Client) {
	t.Helper()
	s := &stuck{k: dmtest.New(), reached: make(chan struct{}), letGo: make(chan struct{})}
	s.k.AddDisk("/dev/sda", 8, 0, 4096)
	c, err := dm.Open(context.Background(), dm.WithTransport(s.k.Transport()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(context.Background(), "d", dm.Table{}.Append(8, dm.Linear{Device: "/dev/sda"}), dm.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.k.Hook(func(call *dmtest.Call) error {
		if call.Command == command && s.armed.CompareAndSwap(true, false) {
			close(s.reached)
			<-s.letGo
		}
		return nil
	})
	s.armed.Store(true)
	return s, c
}

// A call that is cancelled while the kernel blocks answers ErrPending; the
// change is finished or taken back behind it, and Close waits for that.
func TestPending(t *testing.T) {
	zero := dm.Table{}.Append(8, dm.Zero{})
	for _, tt := range []struct {
		name, command string
		call          func(context.Context, *dm.Client) error
		left          string // devices at the end: name and table
	}{
		{"Suspend", "DEV_SUSPEND", func(ctx context.Context, c *dm.Client) error {
			return c.Suspend(ctx, dm.Name("d"), dm.SuspendOptions{})
		}, "d 0 8 linear 8:0 0"},
		{"WhileSuspended", "DEV_SUSPEND", func(ctx context.Context, c *dm.Client) error {
			return c.WhileSuspended(ctx, []dm.Ref{dm.Name("d")}, dm.GuardOptions{}, func(context.Context) error {
				panic("ran after its caller had gone")
			})
		}, "d 0 8 linear 8:0 0"},
		{"Reload in the load", "TABLE_LOAD", func(ctx context.Context, c *dm.Client) error {
			_, err := c.Reload(ctx, dm.Name("d"), zero, dm.ReloadOptions{})
			return err
		}, "d 0 8 linear 8:0 0"}, // taken back
		{"Reload in the swap", "DEV_SUSPEND", func(ctx context.Context, c *dm.Client) error {
			_, err := c.Reload(ctx, dm.Name("d"), zero, dm.ReloadOptions{})
			return err
		}, "d 0 8 zero"}, // finished
		{"Create", "TABLE_LOAD", func(ctx context.Context, c *dm.Client) error {
			_, err := c.Create(ctx, "new", zero, dm.CreateOptions{})
			return err
		}, "d 0 8 linear 8:0 0"},
		{"Remove", "DEV_REMOVE", func(ctx context.Context, c *dm.Client) error {
			return c.Remove(ctx, dm.Name("d"), dm.RemoveOptions{})
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := newStuck(t, tt.command)
			ctx, cancel := context.WithCancel(context.Background())
			result := make(chan error, 1)
			go func() { result <- tt.call(ctx, c) }()
			<-s.reached
			cancel()
			err := <-result
			wantErr(t, err, dm.ErrPending)
			wantErr(t, err, context.Canceled)
			closed := make(chan struct{})
			go func() {
				c.Close()
				close(closed)
			}()
			select {
			case <-closed:
				t.Error("Close did not wait")
			case <-time.After(20 * time.Millisecond):
			}
			close(s.letGo)
			<-closed
			s.k.AssertRunning(t)
			var left []string
			for _, d := range s.k.Devices() {
				left = append(left, d.Name+" "+strings.Join(strings.Fields(d.Active), " "))
				if len(d.Inactive) > 0 {
					t.Errorf("%s has an inactive table", d.Name)
				}
			}
			if got := strings.Join(left, ", "); got != tt.left {
				t.Errorf("left %q, want %q", got, tt.left)
			}
		})
	}
}

// The second resume, on the old table, fails too: the error says in what
// state the device is.
func TestReloadThatCantBeHelped(t *testing.T) {
	ctx := context.Background()
	k := dmtest.New()
	k.AddDisk("/dev/sda", 8, 0, 4096)
	c, err := dm.Open(ctx, dm.WithTransport(k.Transport()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Create(ctx, "d", dm.Table{}.Append(8, dm.Linear{Device: "/dev/sda"}), dm.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	resumes := 0
	k.Hook(func(call *dmtest.Call) error {
		if call.Command == "DEV_SUSPEND" {
			if resumes++; resumes > 1 {
				return dmtest.EIO
			}
		}
		return nil
	})
	_, err = c.Reload(ctx, dm.Name("d"), dm.Table{}.Append(1<<40, dm.Raw{Type: "linear", Text: "/dev/sda 0"}), dm.ReloadOptions{})
	if err == nil || !strings.Contains(err.Error(), "left suspended") {
		t.Errorf("%v", err)
	}
}

// While devices are held, nothing reaches the logger or the trace; it comes
// after.
func TestQuietWhileSuspended(t *testing.T) {
	ctx := context.Background()
	k := dmtest.New()
	var log bytes.Buffer
	traces := 0
	c, err := dm.Open(ctx, dm.WithTransport(k.Transport()), dm.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		dm.WithTrace(func(dm.Trace) { traces++ }))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, n := range []dm.Name{"d", "busy"} {
		if _, err := c.Create(ctx, n, dm.Table{}.Append(8, dm.Zero{}), dm.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	release, err := k.Hold("busy")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	err = c.WhileSuspended(ctx, []dm.Ref{dm.Name("d")}, dm.GuardOptions{}, func(ctx context.Context) error {
		logged, traced := log.Len(), traces
		if err := c.Remove(ctx, dm.Name("busy"), dm.RemoveOptions{Retries: 1}); !errors.Is(err, dm.ErrBusy) {
			t.Error(err)
		}
		if log.Len() != logged || traces != traced {
			t.Errorf("the log grew by %d bytes, %d traces came", log.Len()-logged, traces-traced)
		}
		traces = 0
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "trying again") || traces < 3 {
		t.Errorf("log %q, %d traces", log.String(), traces)
	}
}

// A double without a right to administer is a kernel without one.
func TestNoPermission(t *testing.T) {
	k := dmtest.New()
	k.SetAdmin(false)
	_, err := dm.Open(context.Background(), dm.WithTransport(k.Transport()))
	var e *dm.Error
	if !errors.As(err, &e) || e.Code != 13 {
		t.Errorf("%v", err)
	}
}
