// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"encoding/json"
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
)

// graph is the part of the graph that this case made, with the disks.
func (e *env) graph(t *testing.T, opts dm.GraphOptions) *dm.Graph {
	t.Helper()
	g, err := e.c.Graph(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	var disks []string
	for _, d := range e.disks {
		disks = append(disks, path.Base(d))
	}
	return g.Filter(func(n dm.Node) bool {
		if n.Kind == dm.KindMapped {
			return strings.HasPrefix(string(n.Name), e.prefix)
		}
		for _, d := range disks {
			if string(n.Name) == d {
				return len(g.Users(n.Dev)) > 0
			}
		}
		return n.Kind == dm.KindMissing
	})
}

// A stack of five levels with a diamond, mangled names, devices without a
// table, with one that maps nothing, with one in the inactive slot.
func testGraph(t *testing.T, e *env) {
	ctx := context.Background()
	on := func(format string, devs ...dm.Info) dm.Table {
		t.Helper()
		for _, d := range devs {
			format = strings.Replace(format, "@", d.Dev.String(), 1)
		}
		return e.table(t, "%s", format)
	}
	base := e.create(t, "base", e.table(t, "0 1024 linear %s 8\n1024 1024 linear %s 0", e.disks[0], e.disks[1]), dm.CreateOptions{})
	left := e.create(t, "lv10", on("0 512 linear @ 0", base), dm.CreateOptions{})
	right := e.create(t, "lv2", on("0 512 linear @ 512", base), dm.CreateOptions{ReadOnly: true})
	middle := e.create(t, "middle", on("0 512 linear @ 0\n512 512 striped 2 32 @ 0 @ 0", left, right, left), dm.CreateOptions{})
	mangled, err := dm.Mangle(e.prefix+"top é", dm.MangleAuto)
	if err != nil {
		t.Fatal(err)
	}
	top, err := e.c.Create(ctx, mangled, on("0 1024 linear @ 0", middle), dm.CreateOptions{UUID: dm.UUID("GRAPH-" + e.prefix)})
	if err != nil {
		t.Fatal(err)
	}
	e.create(t, "none", nil, dm.CreateOptions{})
	waiting := e.create(t, "waiting", e.table(t, "0 8 zero"), dm.CreateOptions{})
	if err := e.c.Load(ctx, waiting.Dev, e.table(t, "0 8 linear %s 4096\n8 8 linear %s 0", base.Dev, e.disks[2]), dm.LoadOptions{}); err == nil {
		t.Fatal("base is that long")
	}
	if err := e.c.Load(ctx, waiting.Dev, e.table(t, "0 8 linear %s 8\n8 8 linear %s 0", base.Dev, e.disks[2]), dm.LoadOptions{}); err != nil {
		t.Fatal(err)
	}

	fill := func(text string) string {
		text = strings.ReplaceAll(text, "#", e.prefix)
		for _, i := range []dm.Info{base, left, right, middle, top} {
			short := strings.TrimPrefix(i.Name.Label(), e.prefix)
			text = strings.ReplaceAll(text, "<"+short+">", i.Name.Label()+" ("+i.Dev.String()+")")
		}
		for i, d := range e.disks {
			major, minor, _ := strings.Cut(e.number(t, d), ":")
			text = strings.ReplaceAll(text, "<"+string(rune('0'+i))+">", path.Base(d)+" ("+major+":"+minor+")")
		}
		for _, n := range []string{"none", "waiting"} {
			text = strings.ReplaceAll(text, "<"+n+">", e.prefix+n+" ("+e.info(t, e.name(n)).Dev.String()+")")
		}
		return text
	}
	live := e.graph(t, dm.GraphOptions{})
	want := fill(`<none>
<top é>
 └─<middle>
    ├─<lv2>
    │  └─<base>
    │     ├─<0>
    │     └─<1>
    └─<lv10>
       └─<base>
          ├─<0>
          └─<1>
<waiting>
`)
	if got := live.String(); got != want {
		t.Errorf("tree\n%swant\n%s", got, want)
	}
	all := e.graph(t, dm.GraphOptions{Inactive: true, Layers: true})
	want = fill(`<0>
 └─<base>
    ├─<lv2>
    │  └─<middle>
    │     └─<top é>
    ├─<lv10>
    │  └─<middle>
    │     └─<top é>
    └─<waiting> [inactive]
<1>
 └─<base>
    ├─<lv2>
    │  └─<middle>
    │     └─<top é>
    ├─<lv10>
    │  └─<middle>
    │     └─<top é>
    └─<waiting> [inactive]
<2>
 └─<waiting> [inactive]
`) + fill("<none>\n")
	got := all.Tree(dm.TreeOptions{Inverted: true})
	// Leaves come in the order of names, and a prefix may be before "ram".
	if a, b := strings.TrimPrefix(got, fill("<none>\n")), strings.TrimSuffix(want, fill("<none>\n")); a != b || len(got) != len(want) {
		t.Errorf("inverted tree\n%swant\n%s", got, want)
	}

	// The answer about the lower devices tells the rest too.
	for _, n := range all.Nodes {
		if n.Kind == dm.KindMapped && n.Info != e.info(t, n.Dev) {
			t.Errorf("%+v, info says %+v", n.Info, e.info(t, n.Dev))
		}
	}
	if list := labels(all.Dependents(base.Dev)); list != fill("#waiting #top é #middle #lv10 #lv2") {
		t.Errorf("dependents: %s", list)
	}
	if n, ok := live.Node(waiting.Dev); !ok || n.Below != nil || n.InactiveBelow != nil || !n.InactiveTable {
		t.Errorf("waiting: %+v", n)
	}
	if order, rings := all.Order(); len(order) != len(all.Nodes) || rings != nil {
		t.Errorf("order %v rings %v", order, rings)
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var back dm.Graph
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(&back, all) {
		t.Errorf("%v: %s", err, text)
	}

	// Who has it open: a program, or the devices above.
	release := e.hold(t, e.name("lv2"))
	g := e.graph(t, dm.GraphOptions{Inactive: true})
	release()
	if got := []int{g.OpenElsewhere(base.Dev), g.OpenElsewhere(left.Dev), g.OpenElsewhere(right.Dev), g.OpenElsewhere(top.Dev)}; !reflect.DeepEqual(got, []int{0, 0, 1, 0}) {
		t.Errorf("open elsewhere: %v", got)
	}

	// The order in which a stack can be taken down.
	for _, n := range append(all.Dependents(base.Dev), all.Stack(base.Dev).Nodes...) {
		if n.Kind == dm.KindMapped {
			if _, err := e.c.Info(ctx, n.Dev); err == nil {
				e.remove(t, n.Dev)
			}
		}
	}
	e.remove(t, e.name("none"))
	if g := e.graph(t, dm.GraphOptions{}); len(g.Nodes) != 0 {
		t.Errorf("left: %v", g)
	}
}

// Devices that stand on each other: the driver takes such a table as long as
// it is not live, and nothing of ours may run in circles.
func testGraphRing(t *testing.T, e *env) {
	ctx := context.Background()
	low := e.create(t, "low", e.table(t, "0 64 linear %s 0", e.disks[0]), dm.CreateOptions{})
	top := e.create(t, "top", e.table(t, "0 64 linear %v 0", low.Dev), dm.CreateOptions{})
	// Raw: a Linear is refused before the kernel sees it.
	err := e.c.Load(ctx, low.Dev, dm.Table{}.Append(64, dm.Raw{Type: "linear", Text: top.Dev.String() + " 0"}), dm.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g := e.graph(t, dm.GraphOptions{Inactive: true})
	disk := path.Base(e.disks[0]) + " (" + g.Leaves()[0].Dev.String() + ")"
	want := low.Name.Label() + " (" + low.Dev.String() + ")\n" +
		" ├─" + disk + "\n" +
		" └─" + top.Name.Label() + " (" + top.Dev.String() + ") [inactive]\n" +
		"    └─" + low.Name.Label() + " (" + low.Dev.String() + ") [ring]\n"
	if got := g.String(); got != want {
		t.Errorf("%swant\n%s", got, want)
	}
	order, rings := g.Order()
	if labels(order) != path.Base(e.disks[0])+" "+low.Name.Label()+" "+top.Name.Label() || len(rings) != 1 || labels(rings[0]) != low.Name.Label()+" "+top.Name.Label() {
		t.Errorf("order %v rings %v", order, rings)
	}
	if g := e.graph(t, dm.GraphOptions{}); len(g.Roots()) != 1 || g.Roots()[0].Dev != top.Dev {
		t.Errorf("live tables alone:\n%v", g)
	}
	if err := e.c.Clear(ctx, low.Dev); err != nil {
		t.Fatal(err)
	}
	e.remove(t, top.Dev, low.Dev)
}

// number is "major:minor" of a disk, as a table tells it.
func (e *env) number(t *testing.T, disk string) string {
	t.Helper()
	info := e.create(t, "number", e.table(t, "0 8 linear %s 0", disk), dm.CreateOptions{})
	defer e.remove(t, info.Dev)
	deps, err := e.c.Deps(context.Background(), info.Dev, dm.DepsOptions{})
	if err != nil || len(deps) != 1 {
		t.Fatal(deps, err)
	}
	return deps[0].String()
}

func labels(nodes []dm.Node) string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.Label())
	}
	return strings.Join(list, " ")
}
