// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"

	"github.com/linuxblock/linuxblock/dm"
)

func (t *tool) printJSON(v any) error {
	e := json.NewEncoder(t.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

type jsonSegment struct {
	Start  uint64 `json:"start"`  // sectors
	Length uint64 `json:"length"` // sectors
	Target string `json:"target"`
	Params string `json:"params"`
}

type jsonTable struct {
	Name     string        `json:"name"`
	Segments []jsonSegment `json:"segments"`
}

// tableJSON leaves keys out unless they are asked for.
func tableJSON(name dm.Name, table dm.Table, keys bool) jsonTable {
	j := jsonTable{name.String(), []jsonSegment{}}
	for _, s := range table {
		raw := dm.Raw{Type: s.Target.TargetType(), Text: s.Target.Params()}
		params := raw.Redacted()
		if keys {
			params = raw.Text
		}
		j.Segments = append(j.Segments, jsonSegment{uint64(s.Start), uint64(s.Length), raw.Type, params})
	}
	return j
}

type jsonStatus struct {
	Name     string        `json:"name"`
	EventNr  *uint32       `json:"event_nr,omitempty"`
	Segments []jsonSegment `json:"segments"`
}

func statusJSON(name dm.Name, list []dm.Status) jsonStatus {
	j := jsonStatus{Name: name.String(), Segments: []jsonSegment{}}
	for _, s := range list {
		j.Segments = append(j.Segments, jsonSegment{uint64(s.Start), uint64(s.Length), s.Type, s.Text})
	}
	return j
}

type jsonInfo struct {
	Name            string `json:"name"`
	Text            string `json:"text"` // the name as a person writes it
	UUID            string `json:"uuid"`
	Dev             string `json:"dev"`
	Open            int    `json:"open"`
	EventNr         uint32 `json:"event_nr"`
	Targets         int    `json:"targets"`
	Suspended       bool   `json:"suspended"`
	InternalSuspend bool   `json:"internal_suspend"`
	ReadOnly        bool   `json:"read_only"`
	ActiveTable     bool   `json:"active_table"`
	InactiveTable   bool   `json:"inactive_table"`
	DeferredRemove  bool   `json:"deferred_remove"`
}

func infoJSON(i dm.Info) jsonInfo {
	return jsonInfo{
		i.Name.String(), i.Name.Unmangle(), i.UUID.String(), i.Dev.String(), i.Open, i.EventNr, i.Targets,
		i.Suspended, i.InternalSuspend, i.ReadOnly, i.ActiveTable, i.InactiveTable, i.DeferredRemove,
	}
}

type jsonEntry struct {
	Name    string `json:"name,omitempty"`
	Text    string `json:"text,omitempty"`
	Dev     string `json:"dev"`
	UUID    string `json:"uuid"`
	EventNr uint32 `json:"event_nr"`
}

// jsonUsers is what stands on a device.
type jsonUsers struct {
	Name          string   `json:"name"`
	Users         []string `json:"users"`          // devices directly on it
	Dependents    []string `json:"dependents"`     // all that break without it, in the order of removal
	OpenElsewhere int      `json:"open_elsewhere"` // by mounts and programs
}

type jsonDeps struct {
	Name string   `json:"name"`
	Deps []string `json:"deps"`
}

type jsonTarget struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type jsonEvent struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	OldName string `json:"old_name,omitempty"`
	UUID    string `json:"uuid"`
	Dev     string `json:"dev"`
	EventNr uint32 `json:"event_nr"`
	Count   uint32 `json:"count,omitempty"`
	Initial bool   `json:"initial,omitempty"`
}

func eventJSON(e dm.Event) jsonEvent {
	return jsonEvent{
		e.Kind.String(), e.Name.String(), e.OldName.String(), e.UUID.String(), e.Dev.String(),
		e.EventNr, e.Count, e.Initial,
	}
}

type jsonLeftover struct {
	PID    int    `json:"pid"`
	What   string `json:"what"`
	Name   string `json:"name"`
	Action string `json:"action"`
	Error  string `json:"error,omitempty"`
	DryRun bool   `json:"dry_run"`
}
