// SPDX-License-Identifier: MIT

package dmtest

// argSet is struct dm_arg_set of dm-table.c: what is left of a constructor's
// arguments.
type argSet struct{ argv []string }

// shift is dm_shift_arg; ok is false when nothing is left.
func (as *argSet) shift() (arg string, ok bool) {
	if len(as.argv) == 0 {
		return "", false
	}
	arg = as.argv[0]
	as.argv = as.argv[1:]
	return arg, true
}

// read is dm_read_arg: a number within limits.
func (as *argSet) read(low, high uint32) (n uint32, ok bool) {
	s, _ := as.shift()
	n, ok = scanUint(s)
	return n, ok && n >= low && n <= high
}

// group is dm_read_arg_group: a number of arguments, which must be there.
func (as *argSet) group(high uint32) (n uint32, ok bool) {
	n, ok = as.read(0, high)
	return n, ok && uint64(n) <= uint64(len(as.argv))
}

// take is dm_consume_args, and returns them.
func (as *argSet) take(n uint32) []string {
	head := as.argv[:n]
	as.argv = as.argv[n:]
	return head
}
