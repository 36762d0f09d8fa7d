// SPDX-License-Identifier: MIT

package dmtest

import (
	"strings"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

func (t *Transport) listDevices(p *param) error {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	// Unlike elsewhere the fields need not be terminated here: a name that
	// fills its field runs on into the uuid.
	prefix, uuidPrefix := "", ""
	if k.version.AtLeast(4, 45) {
		prefix = cstring(p.b[offName:dmwire.MinSize])
		uuidPrefix = cstring(p.b[offUUID:dmwire.MinSize])
	}
	withUUID := p.has(dmwire.UUIDFlag)
	var names []dmwire.Name
	for _, d := range k.sortedDevices() {
		if !strings.HasPrefix(d.name, prefix) || !strings.HasPrefix(d.uuid, uuidPrefix) {
			continue
		}
		names = append(names, dmwire.Name{Dev: d.dev(), Name: d.name, EventNr: d.eventNr, UUID: d.uuid, HasUUID: d.uuid != ""})
	}
	out := p.result()
	if len(names) == 0 {
		// dev=0 is put behind the bytes that are copied back.
		if len(out) < 8 {
			p.set(dmwire.BufferFull)
		} else {
			p.setDataSize(dmwire.HeaderSize)
		}
		return nil
	}
	used, full := dmwire.PutNames(out, names, k.version, withUUID)
	if full {
		p.set(dmwire.BufferFull)
		return nil
	}
	p.setDataSize(dmwire.HeaderSize + used)
	return nil
}

func (t *Transport) listVersions(p *param) error {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []dmwire.TargetVersion
	for i := len(k.targets) - 1; i >= 0; i-- { // the youngest first
		if r := k.targets[i]; r.loaded {
			list = append(list, wireVersion(r))
		}
	}
	k.putVersions(p, list)
	return nil
}

func (t *Transport) targetVersion(p *param) error {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.targetType(p.name())
	if r == nil {
		return EINVAL
	}
	k.putVersions(p, []dmwire.TargetVersion{wireVersion(r)})
	return nil
}

func wireVersion(r *registeredTarget) dmwire.TargetVersion {
	v := r.Version
	return dmwire.TargetVersion{Name: r.Name, Version: dmwire.Version{Major: v[0], Minor: v[1], Patch: v[2]}}
}

func (k *Kernel) putVersions(p *param, list []dmwire.TargetVersion) {
	// The kernel asks for the room of the worst alignment and answers with
	// that size.
	needed := 0
	for _, v := range list {
		needed += 16 + len(v.Name) + 1 + 7
	}
	out := p.result()
	if len(out) < needed {
		p.set(dmwire.BufferFull)
		return
	}
	dmwire.PutVersions(out[:needed], list)
	p.setDataSize(dmwire.HeaderSize + needed)
}
