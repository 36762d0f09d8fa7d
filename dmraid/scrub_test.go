// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// lossy loses messages, as the kernel does when md has not put away what ran
// before.
type lossy struct {
	*dmtest.Transport
	lose int
}

func (l *lossy) Ioctl(request uint32, buf []byte) error {
	cmd, _ := dmwire.CommandOf(request)
	if cmd == dmwire.CmdMessage && bytes.Contains(buf, []byte("check\x00")) && l.lose > 0 {
		l.lose--
		request = dmwire.CmdStatus.Request()
	}
	return l.Transport.Ioctl(request, buf)
}

// TestScrubLostMessage: an array that is idle because it never heard of the
// check has not been checked.
func TestScrubLostMessage(t *testing.T) {
	for _, tt := range []struct {
		lose  int
		found dmraid.Sectors
		err   error
	}{{0, 128, nil}, {1, 128, nil}, {4, 128, nil}, {5, 0, dmraid.ErrState}} {
		d, k, _ := doubleDriver(dmraid.Linux61)
		l := &lossy{Transport: k.Transport(), lose: tt.lose}
		d.open = func(t *testing.T) *dm.Client {
			c, err := dm.Open(context.Background(), dm.WithTransport(l), dm.WithTargets(dmraid.Parsers()))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		runConformance(t, d, []conformanceCase{{"lost", func(t *testing.T, e *env) {
			table := e.withLegs(t, mirror(2))
			a, _ := e.live(t, table, arraySectors)
			e.write(t, table.Legs[1].Data, pattern(512, 77), 1<<20)
			r, err := a.Scrub(t.Context(), dmraid.ScrubOptions{})
			if r.Found != tt.found || !errors.Is(err, tt.err) {
				t.Errorf("%d messages lost: %+v, %v", tt.lose, r, err)
			}
			e.do(t, a, dmraid.Stop{Retries: 10})
		}}})
	}
}
