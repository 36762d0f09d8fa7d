// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
)

// answers is a target that refuses messages with what it is told.
type answers struct {
	err  error
	last []string
}

func (a *answers) Message(argv []string) (string, error) {
	a.last = argv
	return "", a.err
}

func (a *answers) Status(bool) string { return "raid1 2 AA 8/8 idle 0 0 -" }

func answering(t *testing.T) (*answers, *dm.Client) {
	t.Helper()
	k, a := dmtest.New(), &answers{}
	k.AddTarget(dmtest.Target{Name: "raid", Version: [3]uint32{1, 15, 1}, New: func(*dmtest.Args) (dmtest.Instance, error) { return a, nil }})
	c, err := dm.Open(context.Background(), dm.WithTransport(k.Transport()), dm.WithStatus(dmraid.StatusParsers()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Create(context.Background(), "r", dm.Table{}.Append(8, dm.Raw{Type: "raid", Text: "x"}), dm.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return a, c
}

func TestSend(t *testing.T) {
	a, c := answering(t)
	for _, m := range []dmraid.Message{dmraid.MessageIdle, dmraid.MessageFrozen, dmraid.MessageResync, dmraid.MessageRecover, dmraid.MessageCheck, dmraid.MessageRepair, "CHECK"} {
		if err := dmraid.Send(t.Context(), c, dm.Name("r"), m); err != nil || strings.Join(a.last, " ") != string(m) {
			t.Errorf("%s: sent %q, %v", m, a.last, err)
		}
	}
	for _, tt := range []struct {
		answer syscall.Errno
		m      dmraid.Message
		want   error
		says   string
	}{
		{16, dmraid.MessageCheck, dm.ErrBusy, "something runs"},
		{22, dmraid.MessageCheck, errors.ErrUnsupported, "raid0"},
		{22, "scrub", nil, "not idle"},
		{5, dmraid.MessageIdle, syscall.Errno(5), ""},
	} {
		a.err, a.last = tt.answer, nil
		err := dmraid.Send(t.Context(), c, dm.Name("r"), tt.m)
		var e *dmraid.Error
		if !errors.As(err, &e) || e.Op != string(tt.m) || e.Code != tt.answer || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.m, err)
		}
		if tt.m == "scrub" {
			if a.last != nil || errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: sent %q, %v", tt.m, a.last, err)
			}
		} else if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v does not match %v", tt.m, err, tt.want)
		}
	}
}

func TestParseMessage(t *testing.T) {
	if m, err := dmraid.ParseMessage("RePair"); m != dmraid.MessageRepair || err != nil {
		t.Error(m, err)
	}
	if _, err := dmraid.ParseMessage("undef"); !errors.Is(err, syscall.Errno(22)) {
		t.Error(err)
	}
}

// A client with the parsers of this package gives typed status.
func TestTypedStatus(t *testing.T) {
	_, c := answering(t)
	list, err := c.Status(t.Context(), dm.Name("r"), dm.StatusOptions{})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	s, err := c.Typed(list[0])
	if got, ok := s.(dmraid.Status); err != nil || !ok || got.Type != dmraid.RAID1 {
		t.Errorf("%#v, %v", s, err)
	}
	if _, err := c.Typed(dm.Status{Type: "raid", Text: "?"}); !errors.Is(err, dmraid.ErrCorrupt) {
		t.Error(err)
	}
	if _, err := list[0].Typed(); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if s, err := c.Typed(dm.Status{Type: "linear"}); s != nil || err != nil {
		t.Error(s, err)
	}
}
