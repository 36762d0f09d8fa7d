// SPDX-License-Identifier: MIT

// Package archtest holds the source tree to the rules that a compiler does
// not know: which package may import which, what may come from outside the
// module, how a file begins and how long it may be, and that no file names
// the machine it was written on.
//
// The checks read a tree through an fs.FS, so that each is tested on a small
// made-up tree where it must fail; TestTree then runs all of them on the real
// one. Nothing is executed, only parsed, and so they also run in the test VM,
// where there is no go command.
//
// A new package, or a new dependency, begins with a line in the tables of
// rules.go.
package archtest
