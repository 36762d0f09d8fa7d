// SPDX-License-Identifier: MIT

package dm

import "fmt"

// Target says what a segment of a table does. The interface is open: a
// package of its own can bring a target, as dmraid does for "raid".
//
// A Target is a plain value. Its Params, parsed again, give an equal value;
// what the kernel prints of it may be parsed and loaded again.
type Target interface {
	// TargetType is the kernel's name of the target: "linear".
	TargetType() string
	// Params is the argument text for the constructor, secrets included.
	Params() string
}

// Validator is implemented by a target that knows the rules of its
// constructor, so that a bad table is refused before any ioctl.
type Validator interface {
	// Validate checks the target for a segment of the given length.
	Validate(length Sectors) error
}

// Mapper is implemented by a target that maps other devices. The extents
// are what the kernel checks against the size of each device when the
// table goes live (iterate_devices in drivers/md).
type Mapper interface {
	Extents(length Sectors) []Extent
}

// ReadOnlyTarget is implemented by a target that the kernel takes in a
// read-only table alone. A writable table with it is refused before any
// ioctl; see ReadOnly in the options of Create, Load and Reload.
type ReadOnlyTarget interface {
	NeedsReadOnly() bool
}

// Redacter is implemented by a target with secrets in its Params.
type Redacter interface {
	// Redacted is Params with each secret replaced.
	Redacted() string
}

// Extent is a range of a device that a segment needs.
type Extent struct {
	Device string  // path, or major:minor
	Start  Sectors // offset on the device
	Length Sectors // 0 when only the device itself is needed
}

// Parser makes a target of the argument text that Params gave or that the
// kernel printed.
type Parser func(params string) (Target, error)

// Parsers maps the names of targets to their parsers.
type Parsers map[string]Parser

// Raw is a target that this package does not know, or whose arguments are
// of a newer kernel: its text is kept as it is, and loads as it is.
type Raw struct {
	Type string // name of the target
	Text string // its arguments
}

// TargetType gives r.Type.
func (r Raw) TargetType() string { return r.Type }

// Params gives r.Text.
func (r Raw) Params() string { return r.Text }

// Redacted gives r.Text without the keys of crypt and integrity.
func (r Raw) Redacted() string { return redact(r.Type, r.Text) }

// String prints the target without its secrets.
func (r Raw) String() string { return targetString(r) }

// MarshalText is String: encoders print no secrets either.
func (r Raw) MarshalText() ([]byte, error) { return []byte(targetString(r)), nil }

// GoString keeps secrets out of %#v too.
func (r Raw) GoString() string { return fmt.Sprintf("dm.Raw{%q}", targetString(r)) }

func targetString(t Target) string {
	if p := redactedParams(t); p != "" {
		return t.TargetType() + " " + p
	}
	return t.TargetType()
}

func redactedParams(t Target) string {
	if r, ok := t.(Redacter); ok {
		return r.Redacted()
	}
	return redact(t.TargetType(), t.Params())
}

// builtinTarget is what the package knows of a target.
type builtinTarget struct {
	parse  Parser
	status func(text string) (fmt.Stringer, error) // nil when the target reports nothing
}

// builtin is never written to after the package is initialised.
var builtin = map[string]builtinTarget{
	"linear":          {parse: parseLinear},
	"striped":         {parseStriped, statusParser(ParseStripedStatus)},
	"error":           {parse: parseErrorTarget},
	"zero":            {parse: parseZero},
	"delay":           {parseDelay, statusParser(ParseDelayStatus)},
	"flakey":          {parse: parseFlakey},
	"snapshot-origin": {parse: parseSnapshotOrigin},
	"snapshot":        {parseSnapshot, statusParser(ParseSnapshotStatus)},
	"snapshot-merge":  {parseSnapshotMerge, statusParser(ParseSnapshotStatus)},
	"mirror":          {parseMirror, statusParser(ParseMirrorStatus)},
	"multipath":       {parseMultipath, statusParser(ParseMultipathStatus)},
	"switch":          {parse: parseSwitch},
	"unstriped":       {parse: parseUnstriped},
	"log-writes":      {parseLogWrites, statusParser(ParseLogWritesStatus)},
	"zoned":           {parseZoned, statusParser(ParseZonedStatus)},
	"ebs":             {parse: parseEBS},
	"dust":            {parseDust, statusParser(ParseDustStatus)},
	"vdo":             {parseVDO, statusParser(ParseVDOStatus)},
	"thin-pool":       {parseThinPool, statusParser(ParseThinPoolStatus)},
	"thin":            {parseThin, statusParser(ParseThinStatus)},
	"cache":           {parseCache, statusParser(ParseCacheStatus)},
	"writecache":      {parseWritecache, statusParser(ParseWritecacheStatus)},
	"era":             {parseEra, statusParser(ParseEraStatus)},
	"clone":           {parseClone, statusParser(ParseCloneStatus)},
	"crypt":           {parse: parseCrypt},
	"integrity":       {parseIntegrity, statusParser(ParseIntegrityStatus)},
	"verity":          {parseVerity, statusParser(ParseVerityStatus)},
}

func statusParser[T fmt.Stringer](parse func(string) (T, error)) func(string) (fmt.Stringer, error) {
	return func(text string) (fmt.Stringer, error) {
		s, err := parse(text)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// parseTarget uses extra before the parsers of this package. The target's
// name alone decides; a name without a parser gives a Raw.
func parseTarget(name, params string, extra Parsers) (Target, error) {
	p, ok := extra[name]
	if !ok {
		p = builtin[name].parse
	}
	if p == nil {
		return Raw{Type: name, Text: params}, nil
	}
	return p(params)
}
