// SPDX-License-Identifier: MIT

package dmraid_test

import "flag"

// long asks for the long run, by hand, of tests that have one.
var long = flag.Bool("long", false, "2,000 random tables in place of 200, all kernels' traps in full")
