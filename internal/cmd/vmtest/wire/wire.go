// SPDX-License-Identifier: MIT

// Package wire is what vmtest on the host and its init in the VM say to each
// other: one [Config] in the initramfs, then frames over a virtio-serial port.
//
// The console is no good for this: it is slow, kernel messages land in the
// middle of lines, and it turns LF into CR LF. A virtio-serial port is a byte
// stream of its own.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Places inside the VM.
const (
	ConfigPath = "/vmtest/config.json"
	BinDir     = "/vmtest/bin" // test binaries
	GuestPath  = "/vmtest/guest"
	SourceDir  = "/src" // copy of the module's source tree
	PortName   = "org.linuxblock.vmtest"
)

// Config tells init what to do.
type Config struct {
	Packages []Package
	Args     []string // flags of the test binaries
	Env      []string
	Modules  []Module // loaded before the first test

	// Timeout is the time one test binary may take; 0 is no limit. It is
	// cut so that the test panics with its stacks before Deadline.
	Timeout  time.Duration
	Deadline time.Duration // of the whole VM, since boot
	FailFast bool

	Shell bool // run a shell on the console instead of tests
	Probe bool // power off at once: only whether the kernel runs is of interest

	// Peers is the number of VMs in this run, Peer the number of this one.
	Peers, Peer int
}

// Package is one test binary.
type Package struct {
	ImportPath string
	Dir        string // inside the VM
	Binary     string // inside the VM
}

// Module is a kernel module to load. A Quiet one may be missing.
type Module struct {
	Name, Params string
	Quiet        bool
}

// Type says what a frame's payload is.
type Type byte

// Frames from init to the host.
const (
	Hello  Type = 'H' // JSON Greeting
	Start  Type = 'S' // JSON Begin: a test binary starts
	Output Type = 'O' // bytes that it wrote
	End    Type = 'E' // JSON Result
	Log    Type = 'L' // text for the person in front of the screen
	Done   Type = 'D' // all was run; the VM powers off
)

// Dump is the only thing the host sends: init writes the stacks of blocked
// tasks and of all CPUs to the console.
const Dump byte = 'd'

// Greeting is init's first frame.
type Greeting struct {
	Release string        // uname -r
	Uptime  time.Duration // from the kernel's start to this frame
}

// Begin announces the output of one package.
type Begin struct{ Index int }

// Result is how a test binary ended.
type Result struct {
	Index   int
	Code    int    // exit status, or -1
	Signal  string // name of the signal that ended it, or ""
	Elapsed time.Duration
	// Killed says why init ended it itself, or "".
	Killed string
	// Stuck is set if it did not even end when killed: some thread of it
	// hangs in the kernel. Nothing can be run afterwards.
	Stuck bool
}

// MaxPayload limits one frame, so that a reader can tell noise from a frame.
const MaxPayload = 1 << 20

// Writer writes frames. It is safe for concurrent use.
type Writer struct {
	mu sync.Mutex
	w  io.Writer
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Bytes writes a frame of plain bytes.
func (w *Writer) Bytes(t Type, p []byte) error {
	for len(p) > MaxPayload {
		if err := w.Bytes(t, p[:MaxPayload]); err != nil {
			return err
		}
		p = p[MaxPayload:]
	}
	// One write for one frame: a frame that a dying kernel cuts in two is
	// less likely then.
	b := make([]byte, 5, 5+len(p))
	b[0] = byte(t)
	binary.LittleEndian.PutUint32(b[1:], uint32(len(p)))
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.w.Write(append(b, p...))
	return err
}

// JSON writes a frame with v in JSON.
func (w *Writer) JSON(t Type, v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.Bytes(t, p)
}

// Logf writes a Log frame.
func (w *Writer) Logf(format string, args ...any) {
	_ = w.Bytes(Log, fmt.Appendf(nil, format, args...))
}

// Read reads one frame. The error is io.EOF only between frames.
func Read(r io.Reader) (Type, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	switch Type(head[0]) {
	case Hello, Start, Output, End, Log, Done:
	default:
		return 0, nil, fmt.Errorf("wire: frame of unknown type %q", head[0])
	}
	if n > MaxPayload {
		return 0, nil, fmt.Errorf("wire: frame of %d bytes", n)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return Type(head[0]), p, nil
}
