// SPDX-License-Identifier: MIT

package raidtest

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
)

// opened answers what the rules ask about devices by opening them, as the
// constructor does.
type opened struct{ a *dmtest.Args }

func (o opened) Sectors(device string) (dmraid.Sectors, error) {
	d, err := o.a.Open(device)
	if err != nil {
		return 0, err
	}
	return dmraid.Sectors(d.Sectors()), nil
}

// Refusals behind the words of the table: the double comes to them by what it
// finds on the disks.
var byState = []string{
	"Failed to run raid array", "Insufficient redundancy to activate array", "Invalid rdev size",
	"Can't reshape a journaled raid4/5/6 set", "No space for forward reshape", "No space for backward reshape",
}

// Refusals that come before the chunk size is looked at.
var beforeChunk = []string{
	"No arguments", "Unrecognised raid_type", "Cannot understand number of raid parameters",
	"Cannot understand number of raid devices parameters", "Invalid number of supplied raid devices",
	"Insufficient number of devices", "Bad numerical argument given for chunk_size",
}

// Refusals that come behind validate_region_size, which says in the log what
// it chose.
var behindRegion = []string{
	"Not enough devices to satisfy specification", "Invalid flags combination",
	"RAID10 format 'near' and 'raid10_use_near_sets' are incompatible",
	"RAID metadata device lookup failure", "RAID device lookup failure",
	"No data device supplied with metadata device", "Drive designated for rebuild not specified",
	"Target length not divisible by number of data devices", "Component device(s) too small",
	"Bogus raid10 data copies or delta disks",
}

// check asks the rules of the kernel about the words of the table. later is a
// refusal that holds unless something else is refused before.
func (s *set) check() (later, err error) {
	a := s.a
	var refused *dmraid.Error
	if e := dmraid.Check(strings.Join(quoted(a.Argv), " "), dmraid.Sectors(a.Length), opened{a}); e != nil && !errors.As(e, &refused) {
		return nil, e
	}
	if refused == nil || !slices.Contains(beforeChunk, refused.Detail) {
		s.logChunk()
	}
	if refused != nil && !slices.Contains(byState, refused.Detail) {
		if slices.Contains(behindRegion, refused.Detail) {
			s.logRegion()
		}
		s.logRefused(refused.Detail)
		return nil, refuse(refused.Code, refused.Detail)
	}
	s.logRegion()
	if refused != nil {
		later = refuse(refused.Code, refused.Detail)
	}
	return later, nil
}

// quoted are words that the kernel's rules part again as they were.
func quoted(argv []string) []string {
	list := slices.Clone(argv)
	for i, w := range list {
		w = strings.ReplaceAll(w, `\`, `\\`)
		list[i] = strings.ReplaceAll(w, " ", `\ `)
	}
	return list
}

// logChunk says that raid1 has no chunks.
func (s *set) logChunk() {
	typ := typeByName(s.a.Argv[0])
	if n, err := strconv.ParseInt(s.a.Argv[2], 10, 32); err == nil && n != 0 && typ != nil && typ.level == 1 {
		s.log("Ignoring chunk size parameter for RAID 1")
	}
}

// logRegion says which region size was chosen, when none was given.
func (s *set) logRegion() {
	args, ok := parse(s.a.Argv)
	if !ok {
		return
	}
	if args.typ.level == 0 || args.number[keyRegionSize] != 0 {
		return
	}
	if n := s.regionSize(); n > 1<<13 {
		s.log("Choosing default region size of %d sectors", n)
	} else {
		s.log("Choosing default region size of 4MiB")
	}
}

// logRefused is what the log has beside the reason.
func (s *set) logRefused(text string) {
	if text != "Unable to parse RAID parameter" {
		return
	}
	words := s.a.Argv[3:]
	for i := 0; i < len(words); i++ {
		k := slices.IndexFunc(keyNames[:], func(n string) bool { return strings.EqualFold(n, words[i]) })
		switch key(k) {
		case keySync, keyNosync, keyNearSets:
		case -1:
			s.log("Unable to parse RAID parameter: %s", words[i])
			return
		default:
			i++
		}
	}
}
