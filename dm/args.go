// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kernelSpace is isspace of the kernel's lib/ctype.c: the blanks of ASCII,
// and 0xa0.
func kernelSpace(c byte) bool {
	return c == ' ' || '\t' <= c && c <= '\r' || c == 0xa0
}

// nextArg cuts the first argument off params: raw as it is written, quoting
// included, and the text behind it. ok is false when only blanks are left.
func nextArg(params string) (raw, rest string, quoted, ok bool) {
	start := 0
	for start < len(params) && kernelSpace(params[start]) {
		start++
	}
	end := start
	for ; end < len(params) && !kernelSpace(params[end]); end++ {
		if params[end] == '\\' {
			quoted = true
			if end+1 < len(params) {
				end++
			}
		}
	}
	return params[start:end], params[end:], quoted, end > start
}

// unquote takes the backslashes out of an argument.
func unquote(raw string) string {
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' && i+1 < len(raw) {
			i++
		}
		b.WriteByte(raw[i])
	}
	return b.String()
}

// SplitArgs splits the arguments of a target or a message as the kernel does
// (dm_split_args in drivers/md/dm-table.c): at blanks, where a backslash
// takes the byte behind it as it is. Makers of a [Target] parse with it.
func SplitArgs(params string) []string {
	var args []string
	for {
		raw, rest, quoted, ok := nextArg(params)
		if !ok {
			return args
		}
		if quoted {
			raw = unquote(raw)
		}
		args = append(args, raw)
		params = rest
	}
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

// argReader takes typed arguments one by one and keeps the first error. It
// allocates nothing unless there is an error or a quoted argument.
type argReader struct {
	rest string // what was not read yet
	pos  int    // arguments that were asked for
	err  error
}

func readArgs(params string) argReader { return argReader{rest: params} }

var (
	errMissing = errors.New("argument missing")
	errExtra   = errors.New("more arguments than the target takes")
)

func (r *argReader) fail(what string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("argument %d (%s): %w", r.pos, what, err)
	}
}

// left is the number of arguments that were not read yet.
func (r *argReader) left() (n int) {
	for rest := r.rest; ; n++ {
		var ok bool
		if _, rest, _, ok = nextArg(rest); !ok {
			return n
		}
	}
}

// peek is the next argument, or empty.
func (r *argReader) peek() string {
	raw, _, quoted, _ := nextArg(r.rest)
	if quoted {
		return unquote(raw)
	}
	return raw
}

func (r *argReader) str(what string) string {
	raw, rest, quoted, ok := nextArg(r.rest)
	r.pos++
	if !ok {
		r.fail(what, errMissing)
		return ""
	}
	r.rest = rest
	if quoted {
		return unquote(raw)
	}
	return raw
}

// oneOf reads one of the given words and returns its index.
func (r *argReader) oneOf(what string, words ...string) int {
	s := r.str(what)
	if r.err == nil {
		if i := slices.Index(words, s); i >= 0 {
			return i
		}
		r.fail(what, fmt.Errorf("%q is none of %s", s, strings.Join(words, ", ")))
	}
	return 0
}

// fraction reads "used/total".
func (r *argReader) fraction(what string) (used, total uint64) {
	s := r.str(what)
	if r.err != nil {
		return 0, 0
	}
	a, b, _ := strings.Cut(s, "/")
	used, err := strconv.ParseUint(a, 10, 64)
	if err == nil {
		total, err = strconv.ParseUint(b, 10, 64)
	}
	if err != nil {
		r.fail(what, fmt.Errorf("%q is not of the form used/total", s))
	}
	return used, total
}

// group reads the count of a group of optional arguments and makes sure that
// so many are left. No count at all is a group of none.
func (r *argReader) group(what string) int {
	if r.err != nil || r.left() == 0 {
		return 0
	}
	n := r.uint(what, 32)
	if r.err == nil && n > uint64(r.left()) {
		r.fail(what, fmt.Errorf("%d announced, %d given", n, r.left()))
	}
	if r.err != nil {
		return 0
	}
	return int(n)
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
	if _, _, _, more := nextArg(r.rest); r.err == nil && more {
		return fmt.Errorf("argument %d (%q): %w", r.pos+1, r.peek(), errExtra)
	}
	return r.err
}

func num[T ~uint | ~uint8 | ~uint32 | ~uint64 | ~int64 | ~int](n T) string {
	return strconv.FormatUint(uint64(n), 10)
}
