// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// metaSize is how much of a leg is for its superblock and bitmap: 4 MiB, as
// much as lvm takes for them by default.
const metaSize linuxblock.Sectors = 8192

// source is what the user gave for a leg: a device, or a file behind a loop
// device.
type source struct {
	path    string // as given
	device  string // what the leg's devices map
	size    linuxblock.Sectors
	release func()
}

// openSources finds devices, and attaches files to loop devices. "-" is a leg
// that is not there.
func (t *tool) openSources(ctx context.Context, paths []string) (list []source, release func(), err error) {
	release = func() {
		for _, s := range list {
			if s.release != nil {
				s.release()
			}
		}
	}
	for _, p := range paths {
		if slices.ContainsFunc(list, func(s source) bool { return s.path == p && p != "-" }) {
			return list, release, usagef("%s is given twice", p)
		}
		s := source{path: p, device: p}
		if st, statErr := os.Stat(p); p != "-" && statErr == nil && st.Mode().IsRegular() {
			if s.device, s.release, err = t.attach(ctx, p); err != nil {
				return list, release, err
			}
		}
		list = append(list, s)
		if p == "-" {
			continue
		}
		d, err := t.devices().OpenDevice(s.device, false)
		if err != nil {
			return list, release, err
		}
		n, err := d.Size()
		d.Close()
		if err != nil {
			return list, release, err
		}
		list[len(list)-1].size = linuxblock.SectorsOf(n)
	}
	return list, release, nil
}

func metaName(name string, leg int) dm.Name  { return dm.Name(fmt.Sprintf("%s_rmeta_%d", name, leg)) }
func imageName(name string, leg int) dm.Name { return dm.Name(fmt.Sprintf("%s_rimage_%d", name, leg)) }

// makeLegs makes the two devices of each leg, all or none. Legs that are not
// there give an empty Leg.
func (t *tool) makeLegs(ctx context.Context, name string, first int, list []source) (legs []dmraid.Leg, remove func() error, err error) {
	var b dm.Batch
	var refs []dm.Ref
	for i, s := range list {
		if s.path == "-" {
			legs = append(legs, dmraid.Leg{})
			continue
		}
		meta, image := metaName(name, first+i), imageName(name, first+i)
		b.Create(meta, dm.Table{}.Append(metaSize, dm.Linear{Device: s.device}), dm.CreateOptions{})
		b.Create(image, dm.Table{}.Append(s.size-metaSize, dm.Linear{Device: s.device, Offset: metaSize}), dm.CreateOptions{})
		refs = append(refs, meta, image)
		legs = append(legs, dmraid.Leg{})
	}
	done, err := t.c.RunBatch(ctx, &b, dm.BatchOptions{AllOrNothing: true})
	if err != nil {
		return nil, nil, err
	}
	for i, s := range list {
		if s.path != "-" {
			legs[i] = dmraid.Leg{Meta: done[0].Info.Dev.String(), Data: done[1].Info.Dev.String()}
			done = done[2:]
		}
	}
	return legs, func() error { return t.removeAll(context.WithoutCancel(ctx), refs) }, nil
}

func (t *tool) removeAll(ctx context.Context, refs []dm.Ref) error {
	var b dm.Batch
	for _, r := range refs {
		b.Remove(r, dm.RemoveOptions{Retries: 3})
	}
	_, err := t.c.RunBatch(ctx, &b, dm.BatchOptions{})
	return err
}

// legDevices lists the devices of legs that belong to an array, there or not
// in its table.
func (t *tool) legDevices(ctx context.Context, name string) (list []dm.Entry, err error) {
	all, err := t.c.List(ctx, dm.ListOptions{NamePrefix: name + "_r"})
	for _, e := range all {
		rest := strings.TrimPrefix(string(e.Name), name)
		if strings.HasPrefix(rest, "_rmeta_") || strings.HasPrefix(rest, "_rimage_") {
			list = append(list, e)
		}
	}
	return list, err
}

// mayOverwrite asks the machine, and then the user, before legs lose what
// they hold.
func (t *tool) mayOverwrite(ctx context.Context, list []source) error {
	for _, s := range list {
		switch {
		case s.path == "-":
			return usagef("a new array needs all its legs")
		case s.size <= metaSize:
			return fmt.Errorf("%s has %s, and %s are for the metadata alone", s.path, human(s.size), human(metaSize))
		}
		if err := t.devices().CheckDevice(ctx, s.device); err != nil && !t.force {
			return fmt.Errorf("%w\n  --force overwrites it all the same", err)
		} else if err != nil {
			fmt.Fprintf(t.err, "warning: %v\n", err)
		}
	}
	if t.plan {
		return nil
	}
	var paths []string
	for _, s := range list {
		paths = append(paths, fmt.Sprintf("%s (%s)", s.path, human(s.size)))
	}
	return t.confirm("All data on %s will be lost.", strings.Join(paths, ", "))
}
