// SPDX-License-Identifier: MIT

package vmtest

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
)

// pool hands out block devices to the tests of one binary. Packages run one
// after the other, so that no other binary takes part.
type pool struct {
	mu   sync.Mutex
	free *sync.Cond
	used map[string]bool
}

var disks = newPool()

func newPool() *pool {
	p := &pool{used: make(map[string]bool)}
	p.free = sync.NewCond(&p.mu)
	return p
}

// take waits until n of the devices are free and takes them together: two
// tests that each took one and waited for a second would wait for ever.
func (p *pool) take(all []string, n int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var got []string
		for _, d := range all {
			if !p.used[d] && len(got) < n {
				got = append(got, d)
			}
		}
		if len(got) == n {
			for _, d := range got {
				p.used[d] = true
			}
			return got
		}
		p.free.Wait()
	}
}

func (p *pool) put(list []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range list {
		delete(p.used, d)
	}
	p.free.Broadcast()
}

// RAMDisk returns the path of a RAM disk, /dev/ramN, that is all zeros and
// that no other test uses until this one ends. It skips the test outside the
// VM. The usual size is 32 MiB, with logical blocks of 512 and physical
// blocks of 4096 bytes.
func RAMDisk(t testing.TB) string {
	t.Helper()
	return RAMDisks(t, 1)[0]
}

// RAMDisks returns n RAM disks. It waits until that many are free. A test
// that needs several asks for them at once: if two tests that run in parallel
// took them one by one, each could wait for the other.
func RAMDisks(t testing.TB, n int) []string {
	t.Helper()
	need(t)
	have, _ := strconv.Atoi(os.Getenv("LINUXBLOCK_VM_RAMDISKS"))
	if n > have {
		t.Fatalf("the VM has %d RAM disks, the test wants %d: vmtest -ram-disks", have, n)
	}
	var all []string
	for i := range have {
		all = append(all, "/dev/ram"+strconv.Itoa(i))
	}
	return hand(t, all, n)
}

// Disk returns the path of the VM's disk, a virtio disk that is all zeros and
// that no other test uses until this one ends. Unlike a RAM disk it has a
// write cache, flushes and discards. It skips the test outside the VM. The
// usual size is 256 MiB.
func Disk(t testing.TB) string {
	t.Helper()
	need(t)
	disk := os.Getenv("LINUXBLOCK_VM_DISK")
	if disk == "" {
		t.Fatal("the VM has no disk: vmtest -disk")
	}
	return hand(t, []string{disk}, 1)[0]
}

func hand(t testing.TB, all []string, n int) []string {
	t.Helper()
	list := disks.take(all, n)
	t.Cleanup(func() { disks.put(list) })
	for _, d := range list {
		if err := zero(d); err != nil {
			t.Fatal(fmt.Errorf("%s (did an earlier test leave it in use?): %w", d, err))
		}
	}
	return list
}
