// SPDX-License-Identifier: MIT

package runfile

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test starts itself as the process that will be killed. In childEnv is
// the folder to work in.
const childEnv = "LINUXBLOCK_RUNFILE_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// child begins, notes and ends entries for ever. Before each call it says what
// it is about to do and after it what is done, so that the parent knows what
// may and what must be found.
func child(dir string) {
	f, err := Open(dir, "test")
	if err != nil {
		panic(err)
	}
	say := func(verb string, id int) { os.Stdout.WriteString(verb + " " + strconv.Itoa(id) + "\n") }
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(time.Now().UnixNano())))
	open := map[int]*Entry{}
	for id := 1; ; id++ {
		say("begin", id)
		e, err := f.Begin(F("id", strconv.Itoa(id)), F("text", strings.Repeat("\"\\", r.IntN(20))))
		if err != nil {
			panic(err)
		}
		say("begun", id)
		open[id] = e
		if r.IntN(2) == 0 {
			say("note", id)
			if err := e.Note(F("noted", "yes")); err != nil {
				panic(err)
			}
			say("noted", id)
		}
		for old, e := range open {
			if r.IntN(3) > 0 {
				say("end", old)
				if err := e.End(); err != nil {
					panic(err)
				}
				say("ended", old)
				delete(open, old)
			}
		}
	}
}

// start runs a child and returns it with what it says.
func start(t *testing.T, dir string) (*os.Process, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.StartProcess(exe, []string{exe}, &os.ProcAttr{
		Env:   append(os.Environ(), childEnv+"="+dir),
		Files: []*os.File{nil, w, os.Stderr},
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return p, r
}

// state of an entry as the parent knows it.
type known struct{ mayOpen, mustOpen, mayNote, mustNote bool }

// replay follows what the child said. A line it could not finish was not done.
func replay(text string) map[string]*known {
	all := map[string]*known{}
	for line := range strings.Lines(text) {
		verb, id, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok || !strings.HasSuffix(line, "\n") {
			continue
		}
		if all[id] == nil {
			all[id] = &known{}
		}
		k := all[id]
		switch verb {
		case "begin":
			k.mayOpen = true
		case "begun":
			k.mustOpen = true
		case "note":
			k.mayNote = true
		case "noted":
			k.mustNote = true
		case "end":
			k.mustOpen = false
		case "ended":
			delete(all, id)
		}
	}
	return all
}

// After SIGKILL at any moment Scan lists exactly what was open.
func TestKill(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	total := 0
	for round := range rounds {
		p, r := start(t, dir)
		said := make(chan string)
		go func() {
			in := bufio.NewReaderSize(r, 1<<20)
			first, _ := in.ReadString('\n')
			time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { p.Kill() })
			rest, _ := io.ReadAll(in)
			said <- first + string(rest)
		}()
		text := <-said
		r.Close()
		if round%2 == 0 {
			if _, err := p.Wait(); err != nil {
				t.Fatal(err)
			}
		} else {
			// Not waited for: it is gone when it is a zombie.
			untilZombie(t, p.Pid)
		}
		found, err := Scan(dir, "test")
		if err != nil {
			t.Fatal(err)
		}
		want := replay(text)
		if len(found.Foreign)+len(found.Busy)+len(found.Unknown) != 0 || len(found.Dead) > 1 {
			t.Fatalf("round %d: %+v", round, found)
		}
		for _, d := range found.Dead {
			if d.OtherBoot || len(d.Damaged) != 0 || d.Owner.PID != p.Pid {
				t.Errorf("round %d: %+v", round, d)
			}
			for _, l := range d.Open {
				k := want[l.Get("id")]
				if k == nil || !k.mayOpen {
					t.Errorf("round %d: %+v was not open", round, l)
					continue
				}
				noted := l.Get("noted") == "yes"
				if noted && !k.mayNote || !noted && k.mustNote {
					t.Errorf("round %d: %+v, note wrong", round, l)
				}
				k.mustOpen = false
				total++
			}
			if err := d.Remove(); err != nil {
				t.Error(err)
			}
		}
		for id, k := range want {
			if k.mustOpen {
				t.Errorf("round %d: entry %s is missing", round, id)
			}
		}
		if round%2 != 0 {
			if _, err := p.Wait(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if total == 0 {
		t.Error("nothing was ever open")
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range list {
		// A kill while the file was made leaves a nameless one, which goes with age.
		if !strings.HasSuffix(item.Name(), tmpSuffix) {
			t.Errorf("left: %s", item.Name())
		}
	}
}

// untilZombie returns when every thread of a killed process has ended. Its
// pipes close earlier.
func untilZombie(t *testing.T, pid int) {
	t.Helper()
	for range 10000 {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		st, err := parseStat(string(data))
		if err != nil {
			t.Fatal(err)
		}
		if st.dead() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it lives on")
}

// A living process's file is never listed, its own neither; another scanner's
// catch is busy.
func TestAliveAndBusy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	own := open(t, dir)
	if _, err := own.Begin(F("mine", "1")); err != nil {
		t.Fatal(err)
	}
	p, r := start(t, dir)
	defer r.Close()
	b := make([]byte, 100)
	for range 20 { // it is well under way
		if _, err := r.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := Scan(dir, "test"); err != nil || len(f.Dead)+len(f.Busy)+len(f.Unknown)+len(f.Foreign) != 0 {
		t.Fatalf("%+v %v", f, err)
	}
	p.Kill()
	io.Copy(io.Discard, r)
	p.Wait()
	// Leave an open entry for sure.
	plant(t, dir, Owner{PID: p.Pid, Start: 1}, "begin 1 a=\"1\"\nbegin 2\n")
	var mu sync.Mutex
	var wg sync.WaitGroup
	caught := map[string]int{}
	var all []Found
	for range 8 {
		wg.Go(func() {
			f, err := Scan(dir, "test")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			for _, d := range f.Dead {
				caught[d.Path]++
			}
			all = append(all, f)
		})
	}
	wg.Wait()
	if len(caught) == 0 {
		t.Error("nobody caught it")
	}
	for path, n := range caught {
		if n != 1 || path == own.Path() {
			t.Errorf("%s caught %d times", path, n)
		}
	}
	for _, f := range all {
		f.Close()
	}
	f, err := Scan(dir, "test")
	if err != nil || len(f.Dead) == 0 {
		t.Fatalf("not given back: %+v %v", f, err)
	}
	if other, err := Scan(dir, "other"); err != nil || len(other.Dead) != 0 {
		t.Errorf("other kind: %+v %v", other, err)
	}
	for _, d := range f.Dead {
		for len(d.Open) > 0 {
			if err := d.End(d.Open[0].ID); err != nil {
				t.Fatal(err)
			}
		}
		d.Close()
		if err := d.Remove(); err == nil {
			t.Error("Remove after Close")
		}
	}
	if f, err := Scan(dir, "test"); err != nil || len(f.Dead) != 0 {
		t.Errorf("after End of all: %+v %v", f, err)
	}
}

// plant writes a file as o would have; empty fields are this process's.
func plant(t *testing.T, dir string, o Owner, lines string) string {
	t.Helper()
	me, err := self()
	if err != nil {
		t.Fatal(err)
	}
	if o.Boot == "" {
		o.Boot = me.Boot
	}
	if o.PIDNS == "" {
		o.PIDNS = me.PIDNS
	}
	if o.TimeNS == "" {
		o.TimeNS = me.TimeNS
	}
	text := string(appendRecord(nil, verbHead, format, o.fields())) + lines
	path := filepath.Join(dir, fileName("test", o.PID, o.Start, 0))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestScanKinds(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	me, err := self()
	if err != nil {
		t.Fatal(err)
	}
	reused := plant(t, dir, Owner{PID: me.PID, Start: me.Start + 1}, "begin 1\n")
	boot := plant(t, dir, Owner{PID: me.PID, Start: me.Start, Boot: "other", PIDNS: "pid:[1]"}, "begin 1\nwhat 1\n")
	foreign := plant(t, dir, Owner{PID: 1, Start: 2, PIDNS: "pid:[1]"}, "begin 1\n")
	timens := plant(t, dir, Owner{PID: 1, Start: 3, TimeNS: "time:[1]"}, "begin 1\n")
	empty := plant(t, dir, Owner{PID: 1, Start: 4}, "begin 1\nend 1\n")
	unknown := filepath.Join(dir, "test-1-5-0.log")
	if err := os.WriteFile(unknown, []byte("head 9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "test-1-6-0.log")
	if err := os.Symlink(reused, link); err != nil {
		t.Fatal(err)
	}
	writable := plant(t, dir, Owner{PID: 1, Start: 7}, "begin 1\n")
	os.Chmod(writable, 0o666)
	misnamed := filepath.Join(dir, "test-1-8-0.log")
	data, _ := os.ReadFile(reused)
	if err := os.WriteFile(misnamed, data, 0o600); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(dir, "test-1-9-0.log"+tmpSuffix)
	young := filepath.Join(dir, "test-1-10-0.log"+tmpSuffix)
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, []byte("head"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "else"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := Scan(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	var dead []string
	for _, d := range found.Dead {
		dead = append(dead, fmt.Sprint(d.Path, " ", d.OtherBoot, " ", len(d.Open), " ", d.Damaged))
	}
	check := func(what string, got []string, want ...string) {
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
		}
	}
	check("dead", dead, reused+" false 1 []", boot+" true 1 [what 1]")
	check("foreign", found.Foreign, foreign, timens)
	check("unknown", found.Unknown, unknown, link, writable, misnamed)
	check("busy", found.Busy)
	for _, p := range []string{empty, old} {
		if _, err := os.Lstat(p); err == nil {
			t.Error("not removed:", p)
		}
	}
	for _, p := range []string{foreign, timens, unknown, link, writable, misnamed, young} {
		if _, err := os.Lstat(p); err != nil {
			t.Error("touched:", p)
		}
	}
	if f, err := Scan(filepath.Join(dir, "none"), "test"); err != nil || len(f.Dead) != 0 {
		t.Error(f, err)
	}
}
