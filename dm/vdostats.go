// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"strings"
)

// Answer reads what Send gave: the statistics by name, those of a group as
// "journal.entries.committed". Which there are is up to the kernel
// (drivers/md/dm-vdo/message-stats.c). The error matches ErrCorrupt.
func (VDOStats) Answer(text string) (map[string]string, error) {
	p := vdoStatsParser{words: strings.Fields(text), stats: map[string]string{}}
	err := p.group("")
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("%q behind the end", p.words[0])
	}
	if err != nil {
		return nil, &Error{Op: "message", Object: "vdo", Err: corrupt(err)}
	}
	return p.stats, nil
}

// vdoStatsParser takes "{ name : value, name : { … }, }" apart, word by word.
type vdoStatsParser struct {
	words []string
	stats map[string]string
	depth int
}

// maxVDOStatsDepth is far above the kernel's three.
const maxVDOStatsDepth = 16

func (p *vdoStatsParser) next() string {
	if len(p.words) == 0 {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

// group reads from the brace that opens to the one that closes, which has a
// comma unless it is the last.
func (p *vdoStatsParser) group(prefix string) error {
	if w := p.next(); w != "{" {
		return fmt.Errorf("%q in place of a brace", w)
	}
	if p.depth++; p.depth > maxVDOStatsDepth {
		return errors.New("groups inside of groups")
	}
	defer func() { p.depth-- }()
	for {
		name := p.next()
		if strings.TrimSuffix(name, ",") == "}" {
			return nil
		}
		if w := p.next(); name == "" || w != ":" {
			return fmt.Errorf("%q behind the name %q", w, name)
		}
		if len(p.words) > 0 && p.words[0] == "{" {
			if err := p.group(prefix + name + "."); err != nil {
				return err
			}
			continue
		}
		value, ok := strings.CutSuffix(p.next(), ",")
		if !ok {
			return fmt.Errorf("no end of the value of %q", name)
		}
		if _, twice := p.stats[prefix+name]; twice {
			return fmt.Errorf("%q is there twice", prefix+name)
		}
		p.stats[prefix+name] = value
	}
}
