// SPDX-License-Identifier: MIT

package dm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm/dmtest"
)

var _ BlockNamer = (*dmtest.Transport)(nil)

// graphOf makes a graph of "name: below below, inactive". A name in capitals
// is a disk; the number of a node is its place in the text.
func graphOf(text string) *Graph {
	g := &Graph{}
	devs := map[string]Dev{}
	lines := strings.Split(text, "; ")
	for i, l := range lines {
		name, _, _ := strings.Cut(l, ":")
		devs[name] = Dev{254, uint32(i)}
		n := Node{Info: Info{Name: Name(name), Dev: devs[name]}, Kind: KindMapped}
		if name == strings.ToUpper(name) {
			n.Kind = KindDisk
		}
		g.Nodes = append(g.Nodes, n)
	}
	for i, l := range lines {
		_, rest, _ := strings.Cut(l, ":")
		live, inactive, _ := strings.Cut(rest, ",")
		for _, x := range strings.Fields(live) {
			g.Nodes[i].Below = append(g.Nodes[i].Below, devs[x])
		}
		for _, x := range strings.Fields(inactive) {
			g.Nodes[i].InactiveBelow = append(g.Nodes[i].InactiveBelow, devs[x])
		}
	}
	g.sort()
	return g
}

func names(nodes []Node) string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.Label())
	}
	return strings.Join(list, " ")
}

func (g Graph) named(name string) Dev {
	for _, n := range g.Nodes {
		if string(n.Name) == name {
			return n.Dev
		}
	}
	return Dev{}
}

func TestGraph(t *testing.T) {
	for _, tt := range []struct {
		text, roots, leaves, order, rings string
		of, users, dependents, stack      string
	}{
		{"top: left right; left: base; right: base; base: A B; A:; B:; alone:", "alone top", "A B alone", "A B alone base left right top", "",
			"base", "left right", "top right left", "A B base left right top"},
		{"lv10: D; lv2: D lv10; D:", "lv2", "D", "D lv10 lv2", "",
			"D", "lv2 lv10", "lv2 lv10", "D lv2 lv10"},
		// An inactive table holds what it maps.
		{"a: D, E; D:; E:", "a", "D E", "D E a", "", "E", "a", "a", "E a"},
		{"a: D, D; D:", "a", "D", "D a", "", "D", "a", "a", "D a"},
		// A device that maps itself, alone and between others.
		{"a: a", "a", "a", "a", "a", "a", "a", "", "a"},
		{"a: b; b: b C; C:", "a", "C", "C b a", "b", "C", "b", "a b", "C a b"},
		{"a: b; b: a", "a", "a", "a b", "a b", "a", "b", "b", "a b"},
		{"top: a; a: b; b: a C; C:; x: x; low: a", "low top x", "C x", "C a b low top x", "a b|x", "C", "b", "top low b a", "C a b low top"},
		{"a:", "a", "a", "a", "", "nosuch", "", "", ""},
	} {
		g := graphOf(tt.text)
		order, rings := g.Order()
		var ringText []string
		for _, r := range rings {
			ringText = append(ringText, names(r))
		}
		of := g.named(tt.of)
		for _, c := range []struct{ what, got, want string }{
			{"roots", names(g.Roots()), tt.roots},
			{"leaves", names(g.Leaves()), tt.leaves},
			{"order", names(order), tt.order},
			{"rings", strings.Join(ringText, "|"), tt.rings},
			{"users of " + tt.of, names(g.Users(of)), tt.users},
			{"dependents of " + tt.of, names(g.Dependents(of)), tt.dependents},
			{"stack of " + tt.of, names(g.Stack(of).Nodes), tt.stack},
		} {
			if c.got != c.want {
				t.Errorf("%s: %s: %q, want %q", tt.text, c.what, c.got, c.want)
			}
		}
	}
	if g := (Graph{}); g.Roots() != nil || g.Leaves() != nil || g.String() != "" || len(g.Stack(Dev{1, 1}).Nodes) != 0 {
		t.Error("an empty graph")
	}
}

func TestGraphFilter(t *testing.T) {
	g := graphOf("top: left right; left: A; right: A, B; A:; B:")
	f := g.Filter(func(n Node) bool { return n.Name != "left" && n.Name != "B" })
	if names(f.Nodes) != "A right top" || names(f.Users(g.named("right"))) != "top" || f.Nodes[1].InactiveBelow != nil {
		t.Errorf("%v", f)
	}
	if n, ok := g.Node(g.named("right")); !ok || len(n.InactiveBelow) != 1 {
		t.Errorf("the filter changed its graph: %+v", n)
	}
	if _, ok := f.Node(g.named("left")); ok {
		t.Error("left is there")
	}
}

// Whatever the graph, the order is a permutation in which only rings break
// the rule, and what depends on a device is found by walking up.
func TestGraphOrderRandom(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		g := &Graph{}
		n := 1 + r.IntN(12)
		for i := range n {
			g.Nodes = append(g.Nodes, Node{Info: Info{Name: Name(fmt.Sprint("n", i)), Dev: Dev{254, uint32(i)}}, Kind: KindMapped})
			for j := range n {
				if r.IntN(4*n) < 5 {
					g.Nodes[i].Below = append(g.Nodes[i].Below, Dev{254, uint32(j)})
				}
			}
		}
		order, rings := g.Order()
		place, ring := map[Dev]int{}, map[Dev]int{}
		for i, o := range order {
			place[o.Dev] = i
		}
		for i, list := range rings {
			for _, x := range list {
				ring[x.Dev] = i + 1
			}
		}
		if len(place) != n || len(order) != n {
			t.Fatalf("seed %d: order of %d nodes: %v", seed, n, order)
		}
		for _, x := range g.Nodes {
			for _, d := range x.Below {
				if place[d] >= place[x.Dev] && (ring[d] == 0 || ring[d] != ring[x.Dev]) {
					t.Errorf("seed %d: %v is before %v, on which it stands", seed, x, d)
				}
			}
			var found []Dev
			var up func(Dev)
			up = func(d Dev) {
				for _, u := range g.Users(d) {
					if u.Dev != x.Dev && !slices.Contains(found, u.Dev) {
						found = append(found, u.Dev)
						up(u.Dev)
					}
				}
			}
			up(x.Dev)
			if got := g.Dependents(x.Dev); len(got) != len(found) {
				t.Errorf("seed %d: dependents of %v: %v, want %v", seed, x, got, found)
			}
		}
		// Each node is somewhere below a root, and above a leaf.
		for _, ends := range [][]Node{g.Roots(), g.Leaves()} {
			var devs []Dev
			for _, e := range ends {
				devs = append(devs, e.Dev)
			}
			if got := g.Stack(devs...); len(got.Nodes) != n {
				t.Errorf("seed %d: %v lead to %d of %d nodes", seed, devs, len(got.Nodes), n)
			}
		}
	}
}

func TestNatural(t *testing.T) {
	want := []string{"", "#", "1", "01", "2", "10", "010", "10a", "A", "a", "a-1", "a1", "a01", "a1b", "a01b", "a2", "a10", "a10000000000000000000000", "b"}
	for seed := range uint64(20) {
		got := slices.Clone(want)
		rand.New(rand.NewPCG(seed, 2)).Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		slices.SortFunc(got, natural)
		// Equal numbers are told apart by their bytes at the very end.
		if !slices.IsSortedFunc(got, natural) {
			t.Fatalf("%q", got)
		}
		if seed == 0 {
			want = got
		} else if !slices.Equal(got, want) {
			t.Errorf("sorted %q and %q", got, want)
		}
	}
	for _, tt := range [][2]string{{"lv2", "lv10"}, {"lv", "lv2"}, {"a1b", "a1c"}, {"sda2", "sda10"}, {"a-9", "a-10"}, {"x9y1", "x10y0"}} {
		if natural(tt[0], tt[1]) >= 0 || natural(tt[1], tt[0]) <= 0 {
			t.Errorf("%q is not before %q", tt[0], tt[1])
		}
	}
}

// A device that goes between the list and its turn is left out, and is no
// phantom below another that went with it; one that comes meanwhile is found.
func TestGraphRaces(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name   string
		change func(k *dmtest.Kernel, c *Client) error
		want   string
	}{
		{"gone", func(_ *dmtest.Kernel, c *Client) error { return c.Remove(ctx, Name("b"), RemoveOptions{}) },
			"a (254:0)\n └─sda (8:0)\n"},
		{"a stack gone", func(_ *dmtest.Kernel, c *Client) error {
			return cmp.Or(c.Remove(ctx, Name("b"), RemoveOptions{}), c.Remove(ctx, Name("a"), RemoveOptions{}))
		}, ""},
		{"come", func(_ *dmtest.Kernel, c *Client) error {
			_, err := c.Create(ctx, "new", lin(8), CreateOptions{})
			if err == nil {
				_, err = c.Reload(ctx, Name("b"), Table{}.Append(8, Linear{Device: "/dev/mapper/new"}), ReloadOptions{})
			}
			return err
		}, "a (254:0)\n └─sda (8:0)\nb (254:1)\n └─new (254:2)\n    └─sda (8:0)\n"},
		{"renamed", func(_ *dmtest.Kernel, c *Client) error { return c.Rename(ctx, Name("b"), "z", RenameOptions{}) },
			"z (254:1)\n └─a (254:0)\n    └─sda (8:0)\n"},
		{"disk pulled out", func(k *dmtest.Kernel, _ *Client) error { k.RemoveDisk("/dev/sda"); return nil },
			"b (254:1)\n └─a (254:0)\n    └─(8:0) [missing]\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, c := smallDouble(t)
			defer c.Close()
			mk(t, c, "a", 8)
			if _, err := c.Create(ctx, "b", Table{}.Append(8, Linear{Device: "/dev/mapper/a"}), CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			var remove func()
			remove = k.Hook(func(call *dmtest.Call) error {
				if call.Command == "TABLE_DEPS" {
					remove()
					if err := tt.change(k, c); err != nil {
						t.Error(err)
					}
				}
				return nil
			})
			g, err := c.Graph(ctx, GraphOptions{})
			if err != nil || g.String() != tt.want {
				t.Errorf("%v\n%v want\n%s", err, g, tt.want)
			}
			remove()
		})
	}
	// The lower one is gone for good when its turn comes, the upper one was
	// asked before.
	k, c := smallDouble(t)
	defer c.Close()
	mk(t, c, "a", 8)
	if _, err := c.Create(ctx, "b", Table{}.Append(8, Linear{Device: "/dev/mapper/a"}), CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Rename(ctx, Name("a"), "z", RenameOptions{}); err != nil { // b is first in the list now
		t.Fatal(err)
	}
	asked := 0
	k.Hook(func(call *dmtest.Call) error {
		if call.Command == "TABLE_DEPS" {
			if asked++; asked == 2 {
				return cmp.Or(c.Remove(ctx, Name("b"), RemoveOptions{}), c.Remove(ctx, Name("z"), RemoveOptions{}))
			}
		}
		return nil
	})
	if g, err := c.Graph(ctx, GraphOptions{}); err != nil || len(g.Nodes) != 0 || asked < 3 {
		t.Errorf("%d calls: %v %v", asked, g, err)
	}
}

func TestGraphErrors(t *testing.T) {
	k, c := smallDouble(t)
	mk(t, c, "a", 8)
	fails := dmtest.EIO
	remove := k.Hook(func(call *dmtest.Call) error {
		if call.Command == "TABLE_DEPS" {
			return fails
		}
		return nil
	})
	_, err := c.Graph(context.Background(), GraphOptions{})
	if e := (*Error)(nil); !errors.As(err, &e) || e.Op != "graph" || e.Code != 5 {
		t.Errorf("%v", err)
	}
	remove()
	ctx, cancel := context.WithCancel(context.Background())
	remove = k.Hook(func(call *dmtest.Call) error { cancel(); return nil })
	if _, err := c.Graph(ctx, GraphOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	remove()
	c.Close()
	if _, err := c.Graph(context.Background(), GraphOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

// bare is a transport without a System.
type bare struct{ Transport }

// Many devices are asked by several goroutines; a machine that can't be asked
// gives no names.
func TestGraphMany(t *testing.T) {
	ctx := context.Background()
	k := dmtest.New()
	k.AddDisk("/dev/sda", 8, 0, 1<<20)
	c, err := Open(ctx, WithTransport(bare{k.Transport()}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const many = 500
	below := "/dev/sda"
	for i := range many {
		if _, err := c.Create(ctx, Name(fmt.Sprint("d", i)), Table{}.Append(8, Linear{Device: below}), CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		below = fmt.Sprint("/dev/mapper/d", i)
	}
	g, err := c.Graph(ctx, GraphOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for i := range many {
		order = append(order, fmt.Sprint("d", i))
	}
	got, rings := g.Order()
	if want := " " + strings.Join(order, " "); names(got) != want || rings != nil {
		t.Errorf("order %s", names(got))
	}
	disk := Dev{8, 0}
	if n, _ := g.Node(disk); !reflect.DeepEqual(n, Node{Info: Info{Dev: disk}, Kind: KindUnknown}) {
		t.Errorf("%+v", n)
	}
	if list := g.Dependents(disk); len(list) != many || list[0].Name != "d499" || list[many-1].Name != "d0" {
		t.Errorf("dependents: %v", list)
	}
	if n := g.OpenElsewhere(g.named("d0")) + g.OpenElsewhere(g.named("d499")) + g.OpenElsewhere(disk); n != 0 {
		t.Errorf("open elsewhere: %d", n)
	}
	release, err := k.Hold("d7")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if g, err = c.Graph(ctx, GraphOptions{}); err != nil || g.OpenElsewhere(g.named("d7")) != 1 {
		t.Errorf("a device in use: %v", err)
	}
}
