// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"fmt"
	"testing"

	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// whenLoaded is a target that notes whether its device stood still when a
// table with it was loaded.
type whenLoaded struct{}

func (whenLoaded) Status(bool) string { return "fine" }

// raid reads its superblocks when it is loaded: what the live array writes
// there until the swap would be forgotten. So it is suspended first.
func TestReloadHoldsRaid(t *testing.T) {
	ctx := context.Background()
	k := dmtest.New()
	var still []bool
	k.AddTarget(dmtest.Target{Name: "raid", Version: [3]uint32{1, 15, 1}, New: func(a *dmtest.Args) (dmtest.Instance, error) {
		still = append(still, a.Suspended())
		return whenLoaded{}, nil
	}})
	c, err := Open(ctx, WithTransport(k.Transport()), WithStatus(StatusParsers{"raid": func(text string) (fmt.Stringer, error) {
		return DelayStatus{Reads: uint32(len(text))}, nil
	}}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tab := Table{}.Append(8, Raw{Type: "raid"})
	d, err := c.Create(ctx, "r", tab, CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reload(ctx, d.Dev, tab, ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(still) != 2 || still[0] || !still[1] {
		t.Errorf("suspended when loaded: %v", still)
	}
	k.AssertRunning(t)

	// The parser of the option is asked before those of the package.
	list, err := c.Status(ctx, d.Dev, StatusOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.Typed(list[0]); err != nil || s != (DelayStatus{Reads: 4}) {
		t.Errorf("%v, %v", s, err)
	}
	if s, err := c.Typed(Status{Type: "delay", Text: "1 2 3"}); err != nil || s != (DelayStatus{1, 2, 3}) {
		t.Errorf("%v, %v", s, err)
	}
}
