// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// kernelSpace is isspace of the kernel's lib/ctype.c: the blanks of ASCII,
// and 0xa0.
func kernelSpace(c byte) bool {
	return c == ' ' || '\t' <= c && c <= '\r' || c == 0xa0
}

// SplitArgs splits the arguments of a target or a message as the kernel does
// (dm_split_args in drivers/md/dm-table.c): at blanks, where a backslash
// takes the byte behind it as it is. Makers of a [Target] parse with it.
func SplitArgs(params string) []string {
	var args []string
	for i := 0; i < len(params); {
		if kernelSpace(params[i]) {
			i++
			continue
		}
		var b strings.Builder
		for ; i < len(params) && !kernelSpace(params[i]); i++ {
			if params[i] == '\\' && i+1 < len(params) {
				i++
			}
			b.WriteByte(params[i])
		}
		args = append(args, b.String())
	}
	return args
}

// JoinArgs is the inverse of SplitArgs: blanks and backslashes inside an
// argument are quoted.
func JoinArgs(args ...string) string {
	var b strings.Builder
	for i, a := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		for j := 0; j < len(a); j++ {
			if kernelSpace(a[j]) || a[j] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(a[j])
		}
	}
	return b.String()
}

// argReader takes typed arguments one by one and keeps the first error.
type argReader struct {
	args []string
	pos  int
	err  error
}

func readArgs(params string) *argReader { return &argReader{args: SplitArgs(params)} }

var (
	errMissing = errors.New("argument missing")
	errExtra   = errors.New("more arguments than the target takes")
)

func (r *argReader) fail(what string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("argument %d (%s): %w", r.pos, what, err)
	}
}

func (r *argReader) left() int { return len(r.args) - r.pos }

func (r *argReader) str(what string) string {
	if r.pos >= len(r.args) {
		r.pos++
		r.fail(what, errMissing)
		return ""
	}
	r.pos++
	return r.args[r.pos-1]
}

func (r *argReader) uint(what string, bits int) uint64 {
	s := r.str(what)
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		r.fail(what, fmt.Errorf("%q is not a number of %d bits", s, bits))
	}
	return n
}

// sectors reads a number of sectors; device offsets and lengths must stay
// below 2^54, where bytes no longer fit the kernel's loff_t.
func (r *argReader) sectors(what string) Sectors {
	n := r.uint(what, 64)
	if n >= 1<<54 {
		r.fail(what, fmt.Errorf("%d sectors are beyond any device", n))
	}
	return Sectors(n)
}

func (r *argReader) device(what string) string {
	s := r.str(what)
	if r.err == nil && s == "" {
		r.fail(what, errors.New("empty device"))
	}
	return s
}

// millis and seconds read a duration that the kernel holds as an unsigned int.
func (r *argReader) millis(what string) time.Duration {
	return time.Duration(r.uint(what, 32)) * time.Millisecond
}

func (r *argReader) seconds(what string) time.Duration {
	return time.Duration(r.uint(what, 32)) * time.Second
}

func (r *argReader) end() error {
	if r.err == nil && r.pos < len(r.args) {
		return fmt.Errorf("argument %d (%q): %w", r.pos+1, r.args[r.pos], errExtra)
	}
	return r.err
}

func num[T ~uint | ~uint8 | ~uint32 | ~uint64 | ~int64 | ~int](n T) string {
	return strconv.FormatUint(uint64(n), 10)
}
