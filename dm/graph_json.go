// SPDX-License-Identifier: MIT

package dm

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

type jsonGraph struct {
	Devices []jsonNode `json:"devices"`
}

type jsonNode struct {
	Dev  string `json:"dev"`
	Kind Kind   `json:"kind"`
	// The kernel takes names of any bytes, JSON only UTF-8: what is none is
	// also given in base64.
	Name          string     `json:"name"`
	NameBytes     []byte     `json:"name_bytes,omitempty"`
	Label         string     `json:"label"`
	UUID          string     `json:"uuid"`
	UUIDBytes     []byte     `json:"uuid_bytes,omitempty"`
	File          string     `json:"file,omitempty"`
	FileBytes     []byte     `json:"file_bytes,omitempty"`
	Below         []string   `json:"below"`
	InactiveBelow []string   `json:"inactive_below,omitempty"`
	State         *jsonState `json:"state,omitempty"`
}

type jsonState struct {
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

// MarshalJSON prints the graph, a device as
//
//	{
//	  "dev": "254:3",             // its number, by which others name it
//	  "kind": "dm",               // a Kind
//	  "name": "a\\x20b",          // as the kernel holds it
//	  "label": "a b",             // for the eye; it is not read back
//	  "uuid": "",
//	  "file": "/disk.img",        // only of a loop device
//	  "below": ["254:0", "8:16"], // may be empty
//	  "inactive_below": ["8:0"],  // only when there are any
//	  "state": {                  // only of a mapped device; the fields of Info
//	    "open": 1, "event_nr": 0, "targets": 1, "suspended": false,
//	    "internal_suspend": false, "read_only": false, "active_table": true,
//	    "inactive_table": false, "deferred_remove": false
//	  }
//	}
//
// in the list "devices" of one object, in the order of Nodes. Text that is not
// UTF-8 comes in base64 too, as "name_bytes", "uuid_bytes" or "file_bytes".
// Later versions may add fields.
func (g Graph) MarshalJSON() ([]byte, error) {
	out := jsonGraph{Devices: []jsonNode{}}
	for _, n := range g.Nodes {
		j := jsonNode{
			Dev: n.Dev.String(), Kind: n.Kind, Label: n.Label(),
			Name: string(n.Name), NameBytes: bytesOf(string(n.Name)),
			UUID: string(n.UUID), UUIDBytes: bytesOf(string(n.UUID)),
			File: n.File, FileBytes: bytesOf(n.File),
			Below: numbers(n.Below), InactiveBelow: numbers(n.InactiveBelow),
		}
		if n.Kind == KindMapped {
			j.State = &jsonState{
				n.Open, n.EventNr, n.Targets, n.Suspended, n.InternalSuspend,
				n.ReadOnly, n.ActiveTable, n.InactiveTable, n.DeferredRemove,
			}
		}
		out.Devices = append(out.Devices, j)
	}
	return json.Marshal(out)
}

// bytesOf is what JSON can't hold as text.
func bytesOf(s string) []byte {
	if utf8.ValidString(s) {
		return nil
	}
	return []byte(s)
}

func numbers(devs []Dev) []string {
	list := make([]string, len(devs))
	for i, d := range devs {
		list[i] = d.String()
	}
	return list
}

// UnmarshalJSON reads what MarshalJSON printed, and brings it into order. It
// refuses a device that is listed twice or that is below another and not
// listed, and what the kernel can't hold. Fields that it does not know are
// passed over.
func (g *Graph) UnmarshalJSON(data []byte) error {
	var in jsonGraph
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	out := Graph{}
	there := map[Dev]bool{}
	for _, j := range in.Devices {
		n, err := j.node()
		if err == nil && there[n.Dev] {
			err = errors.New("listed twice")
		}
		if err != nil {
			return fmt.Errorf("dm: graph: device %.40q: %w", j.Dev, err)
		}
		there[n.Dev] = true
		out.Nodes = append(out.Nodes, n)
	}
	for _, n := range out.Nodes {
		for _, d := range n.lower() {
			if !there[d] {
				return fmt.Errorf("dm: graph: device %q: %v is below it and not listed", n.Dev, d)
			}
		}
	}
	out.sort()
	*g = out
	return nil
}

func (j *jsonNode) node() (n Node, err error) {
	if n.Dev, err = parseNumber(j.Dev); err != nil {
		return n, err
	}
	text := func(s string, raw []byte) string {
		if len(raw) > 0 {
			return string(raw)
		}
		return s
	}
	n.Kind, n.File = j.Kind, text(j.File, j.FileBytes)
	n.Name, n.UUID = Name(text(j.Name, j.NameBytes)), UUID(text(j.UUID, j.UUIDBytes))
	switch {
	case n.Kind == "":
		return n, errors.New("no kind")
	case strings.IndexByte(string(n.Name)+string(n.UUID)+n.File, 0) >= 0:
		return n, badName("", "NUL")
	case len(n.UUID) > MaxUUID:
		return n, n.UUID.Validate()
	}
	if n.Below, err = parseNumbers(j.Below); err != nil {
		return n, err
	}
	if n.InactiveBelow, err = parseNumbers(j.InactiveBelow); err != nil || n.Kind != KindMapped {
		return n, err
	}
	s := j.State
	if s == nil {
		return n, errors.New("no state")
	}
	if s.Open < 0 || s.Targets < 0 {
		return n, errors.New("negative count")
	}
	n.Open, n.EventNr, n.Targets = s.Open, s.EventNr, s.Targets
	n.Suspended, n.InternalSuspend, n.ReadOnly = s.Suspended, s.InternalSuspend, s.ReadOnly
	n.ActiveTable, n.InactiveTable, n.DeferredRemove = s.ActiveTable, s.InactiveTable, s.DeferredRemove
	return n, n.Name.Validate()
}

func parseNumber(s string) (Dev, error) {
	d, err := ParseDev(s)
	if err == nil && d.IsZero() {
		err = badName(s, "no device has this number")
	}
	return d, err
}

func parseNumbers(list []string) (devs []Dev, err error) {
	for _, s := range list {
		d, err := parseNumber(s)
		if err != nil {
			return nil, err
		}
		devs = append(devs, d)
	}
	return devs, nil
}
