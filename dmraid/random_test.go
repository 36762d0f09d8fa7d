// SPDX-License-Identifier: MIT

package dmraid_test

import "math/rand/v2"

// random is n bytes, each time others, the same in every run.
func random(n int) []byte {
	b := make([]byte, n)
	randomness.Read(b)
	return b
}

var randomness = rand.NewChaCha8([32]byte{'d', 'm', 'r', 'a', 'i', 'd'})
