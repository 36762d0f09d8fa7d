// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

const twoGroups = "2 queue_mode bio 0 2 1 round-robin 0 2 1 1:0 1 1:1 1 queue-length 0 1 1 1:2 1"

func TestMultipathFailover(t *testing.T) {
	m := newMulti(t)
	f := m.create(8192, "multipath", twoGroups)
	m.status("2 1 0 0 2 1 E 0 2 0 1:0 A 0 1:1 A 0 E 0 1 1 1:2 A 0 0")
	m.write(f, 1, 0, nil)
	m.write(f, 2, 4096, nil)
	m.onDisk(0, 1, 0)
	m.onDisk(1, 2, 4096)
	m.status("2 0 0 0 2 1 A 0 2 0 1:0 A 0 1:1 A 0 E 0 1 1 1:2 A 0 0")
	collect, _ := m.tr.KernelLog()
	m.disks[0].Fail(0, 65536)
	m.write(f, 3, 0, nil)
	m.onDisk(1, 3, 0)
	m.status("2 0 0 0 2 1 A 0 2 0 1:0 F 1 1:1 A 0 E 0 1 1 1:2 A 0 0")
	m.events(1)
	if log := collect(); !slices.Equal(log, []string{"device-mapper: multipath: 254:0: Failing path 1:0."}) {
		t.Errorf("log %q", log)
	}
	tell(t, m.tr, "x", "fail_path 1:1")
	m.write(f, 4, 0, nil)
	m.onDisk(2, 4, 0)
	m.status("2 0 0 0 2 2 E 0 2 0 1:0 F 1 1:1 F 1 A 0 1 1 1:2 A 0 0")
	m.events(2)
	m.disks[2].Fail(0, 65536)
	m.write(f, 5, 0, EIO)
	m.events(3)
	m.disks[2].FailWith(nil)
	m.write(f, 5, 0, EIO) // a path does not come back by itself
	tell(t, m.tr, "x", "reinstate_path /dev/ram2")
	m.write(f, 5, 0, nil)
	m.onDisk(2, 5, 0)
	tell(t, m.tr, "x", "reinstate_path 1:1")
	tell(t, m.tr, "x", "switch_group 1")
	m.write(f, 6, 0, nil)
	m.onDisk(1, 6, 0)
	tell(t, m.tr, "x", "disable_group 1")
	m.write(f, 7, 0, nil)
	m.onDisk(2, 7, 0)
	m.status("2 0 0 0 2 2 D 0 2 0 1:0 F 1 1:1 A 1 A 0 1 1 1:2 A 1 0")
	tell(t, m.tr, "x", "fail_path 1:2")
	m.write(f, 8, 0, nil) // rather a disabled group than none
	m.onDisk(1, 8, 0)
	tell(t, m.tr, "x", "enable_group 1")
	m.events(9)
	for _, bad := range []string{"fail_path 1:3", "switch_group 0", "switch_group 3", "disable_group x", "hello", "fail_path", "a b c"} {
		if _, err := messageTo(t, m.tr, "x", bad); err != EINVAL {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := messageTo(t, m.tr, "x", "fail_path 88:88"); err != ENXIO {
		t.Error(err)
	}
	must(t, m.tr, dmwire.CmdSuspend, dmwire.Header{Name: "x", Flags: dmwire.Suspend}, nil)
	if _, err := messageTo(t, m.tr, "x", "fail_if_no_path"); err != EBUSY {
		t.Error(err)
	}
	must(t, m.tr, dmwire.CmdSuspend, named("x"), nil)
}

// The recorded states of table "mp2", after switch_group 2 and
// disable_group 1.
func TestRecordedMultipath(t *testing.T) {
	m := newMulti(t)
	for _, c := range recordedCases(t)["vm_run_a"] {
		if c.Case != "mp2" {
			continue
		}
		s := parseSpec(t, c.In)
		f := m.create(s.Length, s.Type, s.Params)
		if got := status(t, m.tr, "x", 0); got != c.Status[0] {
			t.Errorf("%q, want %q", got, c.Status[0])
		}
		tell(t, m.tr, "x", "switch_group 2")
		tell(t, m.tr, "x", "disable_group 1")
		if got := status(t, m.tr, "x", 0); got != c.Status[2] {
			t.Errorf("%q, want %q", got, c.Status[2])
		}
		f.Close()
		return
	}
	t.Fatal("no recording")
}

// I/O without a path waits, until there is one, or nobody wants it to wait, or
// the device is suspended.
func TestMultipathQueues(t *testing.T) {
	for _, tt := range []struct {
		end  func(m *multi)
		want error
	}{
		{func(m *multi) { tell(m, m.tr, "x", "reinstate_path 1:0") }, nil},
		{func(m *multi) { tell(m, m.tr, "x", "fail_if_no_path") }, EIO},
		{func(m *multi) {
			must(m, m.tr, dmwire.CmdSuspend, dmwire.Header{Name: "x", Flags: dmwire.Suspend}, nil)
			must(m, m.tr, dmwire.CmdSuspend, named("x"), nil)
		}, EIO},
		{func(m *multi) { // the I/O goes to the new table
			if err := load(m, m.tr, "x", spec(8192, "multipath", "2 queue_mode bio 0 1 1 round-robin 0 1 1 1:1 1")); err != nil {
				m.Fatal(err)
			}
			must(m, m.tr, dmwire.CmdSuspend, dmwire.Header{Name: "x", Flags: dmwire.Suspend | dmwire.NoFlush}, nil)
			must(m, m.tr, dmwire.CmdSuspend, named("x"), nil)
		}, nil},
	} {
		m := newMulti(t)
		f := m.create(8192, "multipath", "3 queue_if_no_path queue_mode bio 0 1 1 service-time 0 1 2 1:0 1 1")
		tell(t, m.tr, "x", "fail_path 1:0")
		done := make(chan error, 1)
		go func() {
			_, err := f.WriteAt(bytes.Repeat([]byte{1}, 4096), 0)
			done <- err
		}()
		select {
		case err := <-done:
			t.Fatalf("not queued: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		tt.end(m)
		if err := <-done; err != tt.want {
			t.Errorf("%v, want %v", err, tt.want)
		}
		f.Close()
	}
}

func TestMultipathSuspended(t *testing.T) {
	m := newMulti(t)
	f := m.create(8192, "multipath", "3 queue_if_no_path queue_mode bio 0 1 1 round-robin 0 1 1 1:0 1")
	table := func() string { return strings.SplitN(status(t, m.tr, "x", dmwire.StatusTable), " ", 4)[3] }
	before := table()
	must(t, m.tr, dmwire.CmdSuspend, dmwire.Header{Name: "x", Flags: dmwire.Suspend}, nil)
	if got := table(); strings.Contains(got, "queue_if_no_path") {
		t.Errorf("suspended: %q", got)
	}
	must(t, m.tr, dmwire.CmdSuspend, named("x"), nil)
	if got := table(); got != before {
		t.Errorf("%q, was %q", got, before)
	}
	f.Close()
}

// Requests need disks that take them, and a device keeps its kind.
func TestMultipathRequests(t *testing.T) {
	m := newMulti(t)
	m.disks[0].SetRequestBased(true)
	const rq = "0 0 1 1 round-robin 0 1 1 1:0 1 "
	f := m.create(8192, "multipath", rq)
	if got := status(t, m.tr, "x", dmwire.StatusTable); got != "0 8192 multipath "+rq {
		t.Errorf("table %q", got)
	}
	m.write(f, 1, 0, nil)
	collect, _ := m.tr.KernelLog()
	for _, s := range []dmwire.Spec{
		spec(8192, "multipath", "0 0 1 1 round-robin 0 1 1 1:1 1"),
		spec(8192, "multipath", "2 queue_mode bio 0 1 1 round-robin 0 1 1 1:0 1"),
		spec(8192, "linear", "1:0 0"),
		spec(8192, "multipath", "0 1 alua 1 1 round-robin 0 1 1 1:0 1"),
	} {
		if load(t, m.tr, "x", s) == nil {
			t.Errorf("%v was taken", s)
		}
	}
	if log := collect(); !slices.Equal(log, []string{
		"device-mapper: table: table load rejected: including non-request-stackable devices",
		"device-mapper: table: unable to determine table type",
		"device-mapper: ioctl: can't change device type (old=2 vs new=1) after initial table load.",
		"device-mapper: ioctl: can't replace immutable target type multipath",
		"device-mapper: table: 254:0: multipath: error attaching hardware handler (-ENODEV)",
		"device-mapper: ioctl: error adding target to table",
	}) {
		t.Errorf("log %q", log)
	}
	// The error target takes both.
	if err := load(t, m.tr, "x", spec(8192, "error", "")); err != nil {
		t.Error(err)
	}
	f.Close()
}

func TestMultipathProbe(t *testing.T) {
	m := newMulti(t, WithVersion(4, 50, 0))
	f := m.create(8192, "multipath", twoGroups)
	s, _ := m.k.Device("x")
	probe := func(want error) {
		t.Helper()
		if err := m.tr.ProbePaths(s.Major, s.Minor); err != want {
			t.Errorf("probe: %v, want %v", err, want)
		}
	}
	m.disks[0].Fail(0, 65536)
	probe(nil)
	m.events(0) // no group yet
	m.disks[0].FailWith(nil)
	m.write(f, 1, 0, nil)
	m.disks[0].Fail(0, 65536)
	probe(nil)
	m.status("2 0 0 0 2 1 A 0 2 0 1:0 F 1 1:1 A 0 E 0 1 1 1:2 A 0 0")
	m.events(1)
	tell(t, m.tr, "x", "fail_path 1:1")
	tell(t, m.tr, "x", "fail_path 1:2")
	probe(ENOTCONN)
	must(t, m.tr, dmwire.CmdSuspend, dmwire.Header{Name: "x", Flags: dmwire.Suspend}, nil)
	probe(EAGAIN)
	must(t, m.tr, dmwire.CmdSuspend, named("x"), nil)
	if err := m.tr.ProbePaths(1, 0); err != ENOTTY {
		t.Error(err)
	}
	if err := m.tr.ProbePaths(s.Major, 99); err != ENXIO {
		t.Error(err)
	}
	f.Close()
	old := newMulti(t)
	old.create(8192, "multipath", twoGroups).Close()
	if err := old.tr.ProbePaths(s.Major, s.Minor); err != ENOTTY {
		t.Error(err)
	}
}

func TestSelectors(t *testing.T) {
	m := newMulti(t)
	for _, tt := range []struct{ in, table, info, log string }{
		{in: "historical-service-time 0 2 1 1:0 7 1:1 1", table: "historical-service-time 2 972 0 2 1 1:0 0 1:1 0", info: "2 972 0 2 3 1:0 A 0 1024 0 0 1:1 A 0 1024 0 0"},
		{in: "historical-service-time 2 512 3 1 0 1:0", table: "historical-service-time 2 512 3 1 1 1:0 0", info: "2 512 3 1 3 1:0 A 0 1024 0 0"},
		{in: "io-affinity 0 2 1 1:0 3 1:1 2", log: "io-affinity ps: No new/valid CPU mapping found"},
		{in: "io-affinity 0 2 1 1:0 1 1:1 3", table: "io-affinity 0 2 1 1:0 1 1:1 3", info: "0 2 1 1:0 A 0 0 1:1 A 0 0"},
		{in: "io-affinity 0 1 1 1:0 8", log: "io-affinity ps: invalid cpumask"},
		{in: "io-affinity 0 1 0 1:0", log: "io-affinity ps: invalid number of arguments"},
		{in: "service-time 0 2 1 1:0 5 1:1 0", table: "service-time 0 2 2 1:0 1 1 1:1 0 1", info: "0 2 2 1:0 A 0 0 1 1:1 A 0 0 1"},
		{in: "service-time 0 1 2 1:0 1 101", log: "service-time ps: invalid relative_throughput value"},
		{in: "historical-service-time 1 1024 1 0 1:0", log: "path selector constructor failed"},
		{in: "historical-service-time 3 1 2 3 1 0 1:0", log: "path selector constructor failed"},
		{in: "queue-length 0 1 2 1:0 1 1", log: "queue-length ps: incorrect number of arguments"},
		{in: "round-robin 0 1 1 1:0 x", log: "round-robin ps: invalid repeat count"},
		{in: "nope 0 1 1 1:0 x", log: "unknown path selector type"},
	} {
		collect, _ := m.tr.KernelLog()
		must(t, m.tr, dmwire.CmdCreate, named("x"), nil)
		err := load(t, m.tr, "x", spec(8192, "multipath", "2 queue_mode bio 0 1 1 "+tt.in))
		log := collect()
		if tt.log != "" {
			if err != EINVAL || len(log) < 2 || !strings.Contains(log[len(log)-2], "multipath: "+tt.log+" (-EINVAL)") {
				t.Errorf("%s: %v, %q", tt.in, err, log)
			}
		} else {
			must(t, m.tr, dmwire.CmdSuspend, named("x"), nil)
			if got, want := status(t, m.tr, "x", dmwire.StatusTable), "0 8192 multipath 3 retain_attached_hw_handler queue_mode bio 0 1 1 "+tt.table+" "; got != want {
				t.Errorf("table %q, want %q", got, want)
			}
			m.status("2 1 0 0 1 1 E " + tt.info)
		}
		must(t, m.tr, dmwire.CmdRemove, named("x"), nil)
	}
}
