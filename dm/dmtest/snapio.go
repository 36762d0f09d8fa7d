// SPDX-License-Identifier: MIT

package dmtest

import (
	"slices"
)

// preserve copies what is about to be written on the origin to all running
// snapshots but one that is merging. A snapshot that cannot take it becomes
// invalid; the write goes on. Called with io held for writing.
func (g *originGroup) preserve(except *snapshot, sector, count uint64) {
	g.mu.Lock()
	snaps := slices.Clone(g.snaps)
	g.mu.Unlock()
	for _, s := range snaps {
		g.mu.Lock()
		x, active := s.x, s.active
		g.mu.Unlock()
		if s == except || s.merge || !active {
			continue
		}
		if read, _ := x.usable(); !read {
			continue
		}
		// Beyond the end of the snapshot nothing is kept.
		end := min(sector+count, s.a.Length)
		for c := sector / x.chunk; c*x.chunk < end; c++ {
			if !s.copyOut(x, c, false) {
				break
			}
		}
	}
}

// copyOut gives a chunk its exception, unless it has one. With own the
// write is the snapshot's, which may overflow without harm. It returns false
// when the snapshot cannot take it. Called with io held for writing.
func (s *snapshot) copyOut(x *exceptions, chunk uint64, own bool) bool {
	if _, ok := x.where[chunk]; ok {
		return true
	}
	moved, ok := x.allocate()
	if !ok {
		if own && x.overflowOK {
			x.mu.Lock()
			x.overflowed = true
			x.mu.Unlock()
			x.k.Log(logSnap, "Snapshot overflowed: Unable to allocate exception.")
		} else {
			s.invalidate(x, "Unable to allocate exception.")
		}
		return false
	}
	from := chunk * x.chunk
	n := min(x.chunk, s.origin.Sectors()-min(from, s.origin.Sectors()))
	buf := make([]byte, n*sectorSize)
	err := s.origin.ReadSectors(buf, from)
	if err == nil {
		err = x.device().WriteSectors(buf, moved*x.chunk)
	}
	if err == nil {
		err = x.commit(chunk, moved)
	}
	if err != nil {
		s.invalidate(x, "Error reading/writing.")
		return false
	}
	return true
}

func (s *snapshot) invalidate(x *exceptions, why string) {
	if x.invalidate(why) {
		s.a.Event()
	}
}

// each splits an I/O at chunks.
func (x *exceptions) each(sector, count uint64, f func(chunk, in, from, n uint64) error) error {
	for done := uint64(0); done < count; {
		chunk, in := (sector+done)/x.chunk, (sector+done)%x.chunk
		n := min(count-done, x.chunk-in)
		if err := f(chunk, in, done, n); err != nil {
			return err
		}
		done += n
	}
	return nil
}

func (s *snapshot) ReadSectors(p []byte, sector uint64) error {
	s.group.io.RLock()
	defer s.group.io.RUnlock()
	x, _ := s.state()
	if read, _ := x.usable(); !read {
		if s.merge {
			return s.origin.ReadSectors(p, sector)
		}
		return EIO
	}
	return x.each(sector, uint64(len(p)/sectorSize), func(chunk, in, from, n uint64) error {
		q := p[from*sectorSize : (from+n)*sectorSize]
		if moved, ok := x.where[chunk]; ok {
			return x.device().ReadSectors(q, moved*x.chunk+in)
		}
		return s.origin.ReadSectors(q, chunk*x.chunk+in)
	})
}

func (s *snapshot) WriteSectors(p []byte, sector uint64) error {
	s.group.io.Lock()
	defer s.group.io.Unlock()
	x, _ := s.state()
	count := uint64(len(p) / sectorSize)
	if s.merge {
		return s.writeMerging(x, p, sector, count)
	}
	if read, _ := x.usable(); !read {
		return EIO
	}
	return x.each(sector, count, func(chunk, in, from, n uint64) error {
		if _, write := x.usable(); !write || !s.copyOut(x, chunk, true) {
			return EIO
		}
		return x.device().WriteSectors(p[from*sectorSize:(from+n)*sectorSize], x.where[chunk]*x.chunk+in)
	})
}

// writeMerging writes where the data is: a chunk that is still to be merged
// on the copy-on-write device, any other on the origin.
func (s *snapshot) writeMerging(x *exceptions, p []byte, sector, count uint64) error {
	if read, _ := x.usable(); !read {
		s.group.preserve(s, sector, count)
		return s.origin.WriteSectors(p, sector)
	}
	return x.each(sector, count, func(chunk, in, from, n uint64) error {
		q := p[from*sectorSize : (from+n)*sectorSize]
		if moved, ok := x.where[chunk]; ok {
			return x.device().WriteSectors(q, moved*x.chunk+in)
		}
		s.group.preserve(s, chunk*x.chunk+in, n)
		return s.origin.WriteSectors(q, chunk*x.chunk+in)
	})
}

// HoldMerges says whether snapshot-merge targets wait for [Kernel.Merge]
// instead of merging on their own from the resume on. It counts for merges
// that start or go on later.
func (k *Kernel) HoldMerges(hold bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.holdMerges = hold
}

// Merge merges up to n chunks of the snapshot-merge target of a device, the
// youngest first as the kernel does, and returns how many are left.
func (k *Kernel) Merge(name string, n int) (left int, err error) {
	live, release, err := k.holdTable("merge", name)
	if err != nil {
		return 0, err
	}
	defer release()
	for _, ti := range live.targets {
		s, ok := ti.inst.(*snapshot)
		if !ok || !s.merge {
			continue
		}
		for i := 0; ; i++ {
			x, _ := s.state()
			left := x.left()
			if left == 0 || i == n {
				return left, nil
			}
			if err := s.mergeOne(); err != nil {
				return left, err
			}
		}
	}
	return 0, EINVAL
}

// startMerge is start_merge. Called with group.mu held.
func (s *snapshot) startMerge() {
	k := s.a.Kernel()
	k.mu.Lock()
	hold := k.holdMerges
	k.mu.Unlock()
	if hold || s.stop != nil || s.failed || s.x.left() == 0 {
		return
	}
	s.stop, s.done = make(chan struct{}), make(chan struct{})
	go func(stop, done chan struct{}) {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			x, _ := s.state()
			if x.left() == 0 || s.mergeOne() != nil {
				return
			}
		}
	}(s.stop, s.done)
}

func (s *snapshot) stopMerge() {
	s.group.mu.Lock()
	stop, done := s.stop, s.done
	s.stop = nil
	s.group.mu.Unlock()
	if stop != nil {
		close(stop)
		<-done
	}
}

// mergeOne writes the youngest exception back to the origin. The last one
// raises an event.
func (s *snapshot) mergeOne() error {
	s.group.io.Lock()
	defer s.group.io.Unlock()
	x, _ := s.state()
	if read, _ := x.usable(); !read || len(x.order) == 0 {
		return EINVAL
	}
	last := x.order[len(x.order)-1]
	to := last[0] * x.chunk
	n := min(x.chunk, s.origin.Sectors()-min(to, s.origin.Sectors()))
	s.group.preserve(s, to, n)
	buf := make([]byte, n*sectorSize)
	err := x.device().ReadSectors(buf, last[1]*x.chunk)
	if err == nil {
		err = s.origin.WriteSectors(buf, to)
	}
	if err == nil {
		err = x.forget()
	}
	if err != nil {
		s.group.mu.Lock()
		s.failed = true
		s.group.mu.Unlock()
	}
	if err != nil || len(x.order) == 0 {
		s.a.Event()
	}
	return err
}
