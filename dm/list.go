// SPDX-License-Identifier: MIT

package dm

import (
	"cmp"
	"slices"
	"strings"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// filterVersion brought the uuids in the list, its order, and the filters.
var filterVersion = Version{Major: 4, Minor: 45}

func (c *Client) list(opts ListOptions) ([]Entry, error) {
	r := request{cmd: dmwire.CmdListDevices, flags: dmwire.UUIDFlag, reply: true}
	modern := c.version.AtLeast(filterVersion.Major, filterVersion.Minor)
	if modern {
		// Older kernels ignore the fields, so a prefix is only sent where
		// it has a meaning; the check below is the same for both.
		if len(opts.NamePrefix) > MaxName || len(opts.UUIDPrefix) > MaxUUID {
			return nil, badName(opts.NamePrefix+opts.UUIDPrefix, "prefix is too long")
		}
		r.name, r.uuid = opts.NamePrefix, opts.UUIDPrefix
	}
	list, err := c.entries(r)
	if err != nil {
		return nil, err
	}
	if !modern {
		if list, err = c.fillUUIDs(list); err != nil {
			return nil, err
		}
	}
	list = slices.DeleteFunc(list, func(e Entry) bool {
		return !strings.HasPrefix(string(e.Name), opts.NamePrefix) || !strings.HasPrefix(string(e.UUID), opts.UUIDPrefix)
	})
	if !modern {
		slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	}
	return list, nil
}

// fillUUIDs asks for the uuid of each device; one that has gone meanwhile is
// left out.
func (c *Client) fillUUIDs(list []Entry) ([]Entry, error) {
	kept := list[:0]
	for _, e := range list {
		info, err := c.info(e.Dev)
		if err != nil {
			if gone(err) {
				continue
			}
			return nil, err
		}
		e.UUID = info.UUID
		kept = append(kept, e)
	}
	return kept, nil
}

// entries is the bare answer: without uuids before version 4.45.
func (c *Client) entries(r request) (list []Entry, err error) {
	err = c.ioctl(r, func(_ *dmwire.Header, payload []byte) error {
		names, err := dmwire.ParseNames(payload, c.version)
		list = make([]Entry, len(names))
		for i, n := range names {
			list[i] = Entry{Name(n.Name), UUID(n.UUID), devOf(n.Dev), n.EventNr}
		}
		return err
	})
	return list, err
}
