// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"log/slog"
	"sync"
)

// quietLog keeps log records back while a device is held suspended: the
// handler may write to a file on that very device and would never return.
type quietLog struct {
	mu    sync.Mutex
	depth int
	kept  []func()
}

func (q *quietLog) hold() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.depth++
}

// release lets the records go when the last hold ends.
func (q *quietLog) release() {
	q.mu.Lock()
	q.depth--
	var kept []func()
	if q.depth == 0 {
		kept, q.kept = q.kept, nil
	}
	q.mu.Unlock()
	for _, f := range kept {
		f()
	}
}

// keep takes a record if records are held.
func (q *quietLog) keep(f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.depth == 0 {
		return false
	}
	q.kept = append(q.kept, f)
	return true
}

type quietHandler struct {
	next slog.Handler
	log  *quietLog
}

func (h *quietHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h *quietHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.log.keep(func() { h.next.Handle(context.WithoutCancel(ctx), r) }) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (h *quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quietHandler{h.next.WithAttrs(attrs), h.log}
}

func (h *quietHandler) WithGroup(name string) slog.Handler {
	return &quietHandler{h.next.WithGroup(name), h.log}
}
