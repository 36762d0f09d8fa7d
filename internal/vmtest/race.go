// SPDX-License-Identifier: MIT

//go:build race

package vmtest

// RaceDetector says that the race detector is at work, which makes loops over
// bytes fifty times slower. A test that is long by such loops, and starts no
// goroutines that others don't, may do less.
const RaceDetector = true
