// SPDX-License-Identifier: MIT

package dm_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/udev"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// A victim is this test binary, started again to be killed: it changes
// devices without end. Its environment says how.
const victimEnv = "LINUXBLOCK_DM_VICTIM"

func TestMain(m *testing.M) {
	switch job := os.Getenv(victimEnv); {
	case job == "":
		os.Exit(m.Run())
	case job == "nobody":
		nobody()
	case strings.HasPrefix(job, "self "):
		selfHosted(strings.TrimPrefix(job, "self "))
	default:
		victim(job)
	}
}

// victim makes, swaps, renames and removes devices until it is killed. The
// job is "prefix disk kept-device mode".
func victim(job string) {
	w := strings.Fields(job)
	prefix, disk, kept, mode := w[0], w[1], dm.Name(w[2]), w[3]
	ctx := context.Background()
	c, err := dm.Open(ctx)
	check(err)
	table := func(off int) dm.Table { return dm.Table{}.Append(64, dm.Linear{Device: disk, Offset: dm.Sectors(off)}) }
	fmt.Println("ready")
	for i := 0; ; i++ {
		if mode == "guard" {
			check(c.WhileSuspended(ctx, []dm.Ref{kept}, dm.GuardOptions{}, func(ctx context.Context) error {
				time.Sleep(10 * time.Millisecond)
				return c.Load(ctx, kept, table(i%64), dm.LoadOptions{})
			}))
			continue
		}
		n := dm.Name(fmt.Sprintf("%s-%d", prefix, i))
		_, err := c.Create(ctx, n, table(i%64), dm.CreateOptions{UUID: dm.UUID("VICTIM-" + n)})
		check(err)
		_, err = c.Reload(ctx, kept, table(i%64), dm.ReloadOptions{})
		check(err)
		check(c.Rename(ctx, n, n+"r", dm.RenameOptions{}))
		check(c.Remove(ctx, n+"r", dm.RemoveOptions{Retries: 50}))
	}
}

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(3)
	}
}

// start runs the victim until it is ready.
func start(t *testing.T, job string) *os.Process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.StartProcess("/proc/self/exe", []string{"victim"}, &os.ProcAttr{
		Env: append(os.Environ(), victimEnv+"="+job), Files: []*os.File{nil, w, os.Stderr},
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if line != "ready\n" {
		p.Kill()
		p.Wait()
		t.Fatalf("victim says %q, %v", line, err)
	}
	go func() {
		defer r.Close()
		for sc := bufio.NewScanner(r); sc.Scan(); {
			t.Error("victim: ", sc.Text()) // it has nothing to say but failures
		}
	}()
	return p
}

// A SIGKILL at any moment leaves no device suspended. What it leaves half
// made is in the run file, Recover removes it, and nothing else.
func TestKernelKilled(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	for _, udevd := range []bool{false, true} {
		t.Run(fmt.Sprintf("udevd=%v", udevd), func(t *testing.T) {
			n := rounds * 3 / 4
			if udevd {
				n = rounds - n
			}
			testKilled(t, udevd, n)
		})
	}
}

func testKilled(t *testing.T, udevd bool, rounds int) {
	vmtest.Require(t, "dm-mod", "dm-zero", "brd")
	disk := vmtest.RAMDisk(t)
	if udevd {
		vmtest.StartUdevd(t)
	}
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Others' affairs: a device without a table, a suspended one, one with a
	// table in its inactive slot, and a live cookie.
	foreign := map[dm.Name]dm.Info{}
	for _, n := range []dm.Name{"foreign-bare", "foreign-suspended", "foreign-loaded"} {
		var tab dm.Table
		if n != "foreign-bare" {
			tab = dm.Table{}.Append(8, dm.Zero{})
		}
		if _, err := c.Create(ctx, n, tab, dm.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		defer c.Remove(ctx, n, dm.RemoveOptions{Retries: 50})
	}
	vmtest.Run(t, "dmsetup", "suspend", "foreign-suspended")
	defer c.Resume(ctx, dm.Name("foreign-suspended"), dm.ResumeOptions{})
	vmtest.Run(t, "dmsetup", "load", "foreign-loaded", "--table", "0 8 error")
	cookie, err := udev.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cookie.Destroy()
	for n := range map[dm.Name]bool{"foreign-bare": true, "foreign-suspended": true, "foreign-loaded": true} {
		if foreign[n], err = c.Info(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	const lanes = 2
	for i := range lanes {
		n := dm.Name(fmt.Sprintf("kept-%d", i))
		if _, err := c.Create(ctx, n, dm.Table{}.Append(64, dm.Linear{Device: disk}), dm.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		defer c.Remove(ctx, n, dm.RemoveOptions{Retries: 50})
	}
	var mu sync.Mutex
	found := map[string]int{}
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			kept := dm.Name(fmt.Sprintf("kept-%d", lane))
			for i := 0; i < rounds/lanes && !t.Failed(); i++ {
				prefix := fmt.Sprintf("v%d-%d", lane, i)
				p := start(t, fmt.Sprintf("%s %s %s make", prefix, disk, kept))
				time.Sleep(time.Duration(rand.IntN(40_000)) * time.Microsecond)
				p.Kill()
				p.Wait()
				if info, err := c.Info(ctx, kept); err != nil || info.Suspended {
					t.Errorf("round %d left %+v, %v", i, info, err)
				}
				mu.Lock()
				left, err := c.Recover(ctx, dm.RecoverOptions{})
				mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				for _, l := range left {
					if l.Err != nil || l.What == "" {
						t.Errorf("round %d: %v", i, l)
					}
					mu.Lock()
					found[l.What+" "+l.Action]++
					mu.Unlock()
				}
				if info, err := c.Info(ctx, kept); err != nil || info.Suspended || info.InactiveTable {
					t.Errorf("round %d: %+v, %v after Recover", i, info, err)
				}
				list, err := c.List(ctx, dm.ListOptions{NamePrefix: prefix + "-"})
				if err != nil {
					t.Error(err)
				}
				for _, e := range list { // it was finished when the victim died: nobody's to recover
					info, err := c.Info(ctx, e.Dev)
					if err != nil || info.Suspended || !info.ActiveTable {
						t.Errorf("round %d left %+v half made, %v", i, info, err)
					}
					if err := c.Remove(ctx, e.Dev, dm.RemoveOptions{Retries: 50}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for n, want := range foreign {
		if got, err := c.Info(ctx, n); err != nil || got != want {
			t.Errorf("foreign %+v, was %+v, %v", got, want, err)
		}
	}
	sems, err := udev.List()
	if err != nil {
		t.Error(err)
	}
	for _, s := range sems {
		if s.Key != cookie.Key() {
			t.Errorf("a semaphore is left: %+v", s)
		}
	}
	if len(sems) == 0 {
		t.Error("the foreign cookie is gone")
	}
	// Every node has its device. Temporary names are swept up when they are old.
	nodes, err := os.ReadDir("/dev/mapper")
	if err != nil {
		t.Error(err)
	}
	for _, n := range nodes {
		if n.Name() == "control" || strings.HasPrefix(n.Name(), ".linuxblock-") {
			continue
		}
		if _, err := c.Info(ctx, dm.Name(n.Name())); err != nil {
			t.Errorf("a node without a device is left: %v", err)
		}
	}
	// A process that is killed while it makes its run file leaves an empty
	// one, which is swept up when it is old.
	files, err := os.ReadDir(dm.DefaultRunDir)
	files = slices.DeleteFunc(files, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".new") })
	if err != nil || len(files) > 1 {
		t.Errorf("run files: %v %v", files, err)
	}
	t.Logf("%d kills; found by Recover: %v", rounds, found)
}

// Killed while it holds a device suspended, a program leaves it so; Recover
// resumes it on the table it had.
func TestKernelKilledInGuard(t *testing.T) {
	vmtest.Require(t, "dm-mod", "brd")
	disk := vmtest.RAMDisk(t)
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Create(ctx, "kept-g", dm.Table{}.Append(64, dm.Linear{Device: disk}), dm.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer c.Remove(ctx, dm.Name("kept-g"), dm.RemoveOptions{Retries: 50})
	rounds := 100
	if testing.Short() {
		rounds = 20
	}
	suspended := 0
	// On a slow machine the first guard comes late: wait longer then.
	for i := 0; (i < rounds || suspended == 0 && i < 5*rounds) && !t.Failed(); i++ {
		p := start(t, fmt.Sprintf("g %s kept-g guard", disk))
		time.Sleep(time.Duration(rand.IntN(80_000*(1+i/rounds))) * time.Microsecond)
		p.Kill()
		p.Wait()
		before, err := c.Info(ctx, dm.Name("kept-g"))
		if err != nil {
			t.Fatal(err)
		}
		dry, err := c.Recover(ctx, dm.RecoverOptions{DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		if before.Suspended {
			suspended++
			if len(dry) != 1 || dry[0].Action != "resumed" {
				t.Errorf("suspended, but listed is %v", dry)
			}
		}
		if now, _ := c.Info(ctx, dm.Name("kept-g")); now != before {
			t.Errorf("a dry run changed %+v to %+v", before, now)
		}
		if _, err := c.Recover(ctx, dm.RecoverOptions{}); err != nil {
			t.Fatal(err)
		}
		if now, err := c.Info(ctx, dm.Name("kept-g")); err != nil || now.Suspended {
			t.Errorf("after Recover %+v %v", now, err)
		}
	}
	t.Logf("%d of %d kills found the device suspended", suspended, rounds)
	if suspended == 0 {
		t.Error("no kill fell into a guard: the test proves nothing")
	}
}
